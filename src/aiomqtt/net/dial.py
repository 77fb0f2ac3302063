"""Dialing: a TCP connection to the first address of a name that answers.

This is Happy Eyeballs (RFC 8305): an address that never answers does not use up the
whole timeout. asyncio has it too, but by an argument that other event loops reject.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, NamedTuple

from aiomqtt.types import SocketOption

from .explain import explain
from .interruption import waiting

# The seconds after which the next attempt starts while one is running (RFC 8305 §5).
ATTEMPT_DELAY: Final = 0.25


class Address(NamedTuple):
    """One address to connect to, in the form that `socket` uses."""

    family: int
    address: tuple[Any, ...]

    def __str__(self) -> str:
        """Return the address without its port, for messages."""
        return str(self.address[0])


async def dial(
    hostname: str,
    port: int,
    bind_address: str = "",
    bind_port: int = 0,
    options: Iterable[SocketOption] = (),
) -> socket.socket:
    """Return a socket that is connected to a host.

    A cancellation or an error leaves no socket behind.

    Args:
        hostname: The host's name or address.
        port: Its port.
        bind_address: The local address; "": the system chooses.
        bind_port: The local port; 0: the system chooses.
        options: Arguments of ``socket.setsockopt``, set before connecting.

    Raises:
        OSError: No address could be connected to; the message names each of them.
        UnicodeError: The name can't be encoded for the resolver.
    """
    addresses = await resolve(hostname, port)
    local = await resolve(bind_address, bind_port) if bind_address else None
    if len(addresses) == 1:
        # One address needs no race, and so no task or timer.
        return await _connect(addresses[0], local, bind_port, options)
    return await race(
        interleave(addresses),
        lambda address: _connect(address, local, bind_port, options),
        ATTEMPT_DELAY,
    )


async def resolve(hostname: str, port: int) -> list[Address]:
    """Return the addresses of a name, in the order of the resolver (RFC 6724)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        # An address needs no resolver, which would use a thread.
        try:
            socket.inet_pton(family, hostname)
        except (OSError, ValueError):
            continue
        return [Address(family, (hostname, port))]
    loop = asyncio.get_running_loop()
    with waiting(f"the host name {hostname!r} was not resolved"):
        found = await loop.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    if not found:
        msg = f"the name {hostname!r} has no address"
        raise OSError(msg)
    # A name may be listed twice.
    return list(dict.fromkeys(Address(item[0], item[4]) for item in found))


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with alternating families (RFC 8305 §4)."""
    queues: dict[int, deque[Address]] = {}
    for address in addresses:
        queues.setdefault(address.family, deque()).append(address)
    ordered: list[Address] = []
    while len(ordered) < len(addresses):
        ordered.extend(queue.popleft() for queue in queues.values() if queue)
    return ordered


def _local_address(
    remote: Address, local: list[Address] | None, port: int
) -> tuple[Any, ...] | None:
    """Return the address to bind a socket to, or None.

    Raises:
        OSError: The local and the remote address are of different families.
    """
    if local is not None:
        for candidate in local:
            if candidate.family == remote.family:
                return candidate.address
        msg = f"bind_address is of another family than {remote}"
        raise OSError(msg)
    if port:
        return ("::" if remote.family == socket.AF_INET6 else "0.0.0.0", port)
    return None


async def _connect(
    address: Address,
    local: list[Address] | None,
    bind_port: int,
    options: Iterable[SocketOption],
) -> socket.socket:
    bind_to = _local_address(address, local, bind_port)
    loop = asyncio.get_running_loop()
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bind_to is not None and os.name == "posix":
            # Otherwise concurrent attempts could not be bound to the same port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            sock.setsockopt(*option)
        if bind_to is not None:
            sock.bind(bind_to)
        await loop.sock_connect(sock, address.address)
    except BaseException:
        sock.close()
        raise
    return sock


async def race(
    addresses: Sequence[Address],
    attempt: Callable[[Address], Coroutine[Any, Any, socket.socket]],
    delay: float | None,
) -> socket.socket:
    """Return the socket of the first attempt that succeeds, and end the others.

    Args:
        addresses: At least two addresses, in the order in which to try them.
        attempt: Connects to one; it leaves no socket behind when it fails.
        delay: The seconds after which the next attempt starts while one is running;
            None: never. If an attempt fails, the next one starts at once.

    Raises:
        OSError: All attempts failed.
    """
    remaining = deque(addresses)
    running: dict[asyncio.Future[socket.socket], Address] = {}
    failures: list[tuple[Address, OSError]] = []
    winner: socket.socket | None = None
    try:
        try:
            while winner is None:
                if remaining:
                    address = remaining.popleft()
                    running[asyncio.ensure_future(attempt(address))] = address
                elif not running:
                    raise _summary(failures)
                done, _ = await asyncio.wait(
                    running,
                    timeout=delay if remaining else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    address, error = running.pop(task), task.exception()
                    if isinstance(error, OSError):
                        failures.append((address, error))
                    elif error is not None:
                        raise error
                    elif winner is None:
                        winner = task.result()
                    else:
                        task.result().close()
        finally:
            await _end(running)
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    return winner


async def _end(tasks: Iterable[asyncio.Future[socket.socket]]) -> None:
    """End the attempts that are no longer needed, including successful ones."""
    tasks = list(tasks)
    for task in tasks:
        task.add_done_callback(_discard)
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _discard(task: asyncio.Future[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _summary(failures: Sequence[tuple[Address, OSError]]) -> OSError:
    """Return one error for the errors of all addresses.

    If all have the same error number, it has that number, and so the same class.
    """
    said = "; ".join(f"{address}: {explain(error)}" for address, error in failures)
    errors = [error for _, error in failures]
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else None
    summary = OSError(said) if number is None else OSError(number, said)
    summary.__cause__ = ExceptionGroup("the attempts to connect", errors)
    return summary
