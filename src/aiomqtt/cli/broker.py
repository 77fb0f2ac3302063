"""The command `broker`: a broker in the foreground."""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from aiomqtt.broker import Broker, Limits
from aiomqtt.stores.base import SessionStoreError

from .credentials import VARIABLE, RefusePassword, make_tls_context, read_credentials
from .parser import Parser

if TYPE_CHECKING:
    from aiomqtt.stores.sqlite.broker_store import SQLiteStore

PORT: Final = 1883
TLS_PORT: Final = 8883

DESCRIPTION: Final = f"""\
Run an MQTT 3.1, 3.1.1 and 5.0 broker in the foreground, for development, demos and
small installations, until Ctrl-C or SIGTERM. The log goes to standard error.
Without --store, nothing is written to disk.
With --username or --credentials, other clients are refused; without, any may connect.
Exit codes: 0 after a signal, 1 if it can't listen or the store fails, 2 for wrong
arguments.
Environment: {VARIABLE} is the password for --username."""

# The numeric limits of `Limits` that have an option on the command line.
LIMITS: Final = {
    "maximum_qos": "the highest QoS, 0, 1 or 2",
    "maximum_packet_size": "the largest packet, in bytes",
    "maximum_packet_items": "topic filters, or properties of one kind, in a packet",
    "maximum_session_expiry": "seconds that a session lasts without its client",
    "maximum_queued_messages": "messages queued for one client",
    "maximum_queued_bytes": "bytes queued for one client",
    "maximum_retained_messages": "retained messages",
    "maximum_retained_bytes": "bytes of retained messages",
    "maximum_subscriptions": "subscriptions of one client",
    "maximum_sessions": "sessions, of connected and disconnected clients",
    "maximum_connections": "connections",
    "maximum_memory": "bytes kept for all clients together",
    "maximum_topic_levels": "levels of a topic",
}


def add_command(commands: Any) -> None:
    """Add the command to the subparsers."""
    parser: Parser = commands.add_parser(
        "broker",
        help="run a broker in the foreground",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    add(
        "--port",
        type=int,
        help=f"the port; 0: a free one ({PORT}; with TLS {TLS_PORT})",
    )
    add(
        "--websocket-port",
        type=int,
        metavar="PORT",
        help="listen for WebSocket connections too, on this port; 0: a free one",
    )
    add("--unix-socket", metavar="PATH", help="listen on a Unix socket too")
    add("--verbose", action="store_true", help="log every packet")
    _add_store(parser)
    _add_users(parser)
    _add_tls(parser)
    _add_limits(parser)
    parser.set_defaults(run=lambda options: run(parser, options))


def _add_store(parser: Parser) -> None:
    store = parser.add_argument_group("store")
    add = store.add_argument
    add(
        "--store",
        type=Path,
        metavar="FILE",
        help="keep sessions, queued and retained messages in this SQLite file",
    )
    add(
        "--durability",
        choices=("normal", "full"),
        default="normal",
        help="full: nothing is lost when the power is; slower (%(default)s)",
    )


def _add_users(parser: Parser) -> None:
    users = parser.add_argument_group("authentication")
    add = users.add_argument
    add("--username", metavar="USER", help="the name of one user")
    add(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="the first line is the password of that user",
    )
    add("--password", nargs="?", action=RefusePassword, help=argparse.SUPPRESS)
    add(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="users and their passwords, in lines of user:password",
    )


def _add_tls(parser: Parser) -> None:
    tls = parser.add_argument_group("TLS")
    add = tls.add_argument
    add(
        "--tls-certificate",
        type=Path,
        metavar="FILE",
        help="the broker's certificate and its chain, as PEM",
    )
    add(
        "--tls-key",
        type=Path,
        metavar="FILE",
        help="the private key, if it is in a file of its own",
    )


def _add_limits(parser: Parser) -> None:
    limits = parser.add_argument_group("limits")
    defaults = {field.name: field.default for field in fields(Limits)}
    for name, text in LIMITS.items():
        default = "none" if defaults[name] is None else defaults[name]
        limits.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            metavar="N",
            help=f"{text} ({default})",
        )


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run a broker until a signal; return the exit code.

    Raises:
        SystemExit: With 2, the arguments are wrong.
    """
    broker = _make(parser, options)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s")
    logger = logging.getLogger("aiomqtt.broker")
    logger.setLevel(logging.DEBUG if options.verbose else logging.INFO)
    return asyncio.run(_serve(parser.prog, broker, options, logger))


def _make(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Broker:
    limits = {name: getattr(options, name) for name in LIMITS}
    given = {name: value for name, value in limits.items() if value is not None}
    try:
        allowed = Limits(**given)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        parser.error(f"--{name.replace('_', '-')} {rest}")
    try:
        return Broker(
            options.host,
            _port(options),
            ssl_context=make_tls_context(options.tls_certificate, options.tls_key),
            credentials=read_credentials(
                options.username, options.password_file, options.credentials
            ),
            limits=allowed,
            store=_store(options),
        )
    except ValueError as error:
        parser.error(str(error))


def _store(options: argparse.Namespace) -> "SQLiteStore | None":
    if options.store is None:
        return None
    # SQLite is not part of every Python.
    from aiomqtt.stores.sqlite.broker_store import SQLiteStore

    return SQLiteStore(options.store, durability=options.durability)


def is_open_to_others(options: argparse.Namespace) -> bool:
    """Return whether anybody on another host may connect."""
    if options.username is not None or options.credentials is not None:
        return False
    try:
        return not ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        return str(options.host).rstrip(".").lower() != "localhost"


def _port(options: argparse.Namespace) -> int:
    if options.port is None:
        return PORT if options.tls_certificate is None else TLS_PORT
    port: int = options.port
    return port


def _why(error: OSError) -> str:
    """Return the text of the system's error, without asyncio's addition."""
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


async def _serve(
    program: str, broker: Broker, options: argparse.Namespace, logger: logging.Logger
) -> int:
    """Run the broker until SIGINT or SIGTERM; return the exit code."""
    stopped = asyncio.Event()
    with _signals_set(stopped):
        try:
            await broker.start()
        except OSError as error:
            where = _where(options, _port(options))
            sys.stderr.write(f"{program}: can't listen on {where}: {_why(error)}\n")
            return 1
        except SessionStoreError as error:
            sys.stderr.write(f"{program}: {error}\n")
            return 1
        try:
            logger.info("Listening on %s", broker.url)
            problem = await _listen_elsewhere(broker, options, logger)
            if problem:
                sys.stderr.write(f"{program}: {problem}\n")
                return 1
            if is_open_to_others(options):
                logger.warning(
                    "Anybody who can reach %s may connect: there are no credentials",
                    options.host or "this host",
                )
            if await _until(stopped, broker):
                # The broker has logged it.
                return 1
            logger.info("Stopping")
        finally:
            await broker.stop()
    return 0


async def _until(stopped: asyncio.Event, broker: Broker) -> bool:
    """Wait for a signal, or until the store fails; return whether it has failed."""
    waiting = asyncio.create_task(stopped.wait())
    serving = asyncio.create_task(broker.serve_forever())
    await asyncio.wait((waiting, serving), return_when=asyncio.FIRST_COMPLETED)
    has_failed = serving.done()
    for task in (waiting, serving):
        task.cancel()
    await asyncio.gather(waiting, serving, return_exceptions=True)
    return has_failed


def _where(options: argparse.Namespace, port: int) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{host}:{port}"


async def _listen_elsewhere(
    broker: Broker, options: argparse.Namespace, logger: logging.Logger
) -> str:
    """Listen for WebSocket and on a Unix socket; return an error message, or ""."""
    where = ""
    try:
        if options.websocket_port is not None:
            where = _where(options, options.websocket_port)
            listener = await broker.listen(
                options.host,
                options.websocket_port,
                ssl_context=make_tls_context(options.tls_certificate, options.tls_key),
                websocket=True,
            )
            logger.info("Listening on %s", listener.url)
        if options.unix_socket is not None:
            where = options.unix_socket
            listener = await broker.listen_unix(options.unix_socket)
            logger.info("Listening on %s", listener.url)
    except ImportError as error:
        return str(error)
    except OSError as error:
        return f"can't listen on {where}: {_why(error)}"
    except OverflowError:
        return f"can't listen on {where}: a port is 0 to 65535"
    return ""


@contextlib.contextmanager
def _signals_set(event: asyncio.Event) -> Iterator[None]:
    """Set an event when a signal asks the program to end.

    The event loop's own way to do this does not exist on Windows.
    """
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(event.set)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
