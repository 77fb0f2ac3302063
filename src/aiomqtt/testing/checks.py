"""Checks for implementations of a transport."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

from .recorder import Recorder, reported_errors, require
from .transport_rules import RULES, Pair

Factory: TypeAlias = Callable[[], asyncio.Protocol]
Connect: TypeAlias = Callable[
    [Factory, Factory], contextlib.AbstractAsyncContextManager[object]
]

# How many turns of the loop a connection may take, for cancelling it in each of them.
TURNS_TO_CANCEL = 8


async def check_transport(connect: Connect, *, timeout: float = 5.0) -> None:
    """Check that a transport keeps the rules of asyncio and of this library.

    It makes a connection for each rule; the documentation lists the rules. It needs an
    event loop of asyncio, and no test framework.

    Args:
        connect: Returns an asynchronous context manager for one connection. It is
            called with a factory of the client's protocol and one of the server's.
            Entering connects; leaving may end a server that it has started. Before
            it is left, both ends are closed.
        timeout: How many seconds each step of a rule may take.

    Raises:
        AssertionError: The transport breaks a rule; the message begins with the rule.
    """
    for rule, check in RULES.items():
        tasks = asyncio.all_tasks()
        with naming(rule):
            async with _connected(connect, timeout) as pair:
                await check(pair)
            await _check_callbacks(pair)
            _check_tasks(tasks)
    for turns in range(TURNS_TO_CANCEL):
        with naming(f"connecting can be cancelled: after {turns} turns"):
            await _check_cancelling(connect, timeout, turns)


@contextlib.contextmanager
def naming(rule: str) -> Iterator[None]:
    """Raise any exception as an AssertionError that names the rule."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{rule}: {error}") from error
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{rule}: {text}") from error


@contextlib.asynccontextmanager
async def _connected(connect: Connect, timeout: float) -> AsyncIterator[Pair]:
    """Connect a pair; when left, abort the ends that are not closed."""
    client, server = Recorder(timeout), Recorder(timeout)
    async with connect(lambda: client, lambda: server):
        require(
            client.is_made, "connection_made has to be called before it is connected"
        )
        text = "connection_made has to be called at the server"
        await server.wait_for(lambda: server.is_made, text)
        try:
            yield Pair(client, server, timeout)
        finally:
            for end in (client, server):
                end.actions.clear()
                if not end.is_lost:
                    end.transport.abort()
        for end in (client, server):
            await end.wait_until_lost()


async def _check_callbacks(pair: Pair) -> None:
    """Check the order of all callbacks, after some turns for calls that come late."""
    for _ in range(5):
        await asyncio.sleep(0)
    for end in (pair.client, pair.server):
        names = end.names
        require(
            names.count("connection_lost") == 1,
            f"connection_lost has to be called once: {names}",
        )
        require(
            names[-1] == "connection_lost",
            f"connection_lost has to be the last callback: {names}",
        )
        require(
            names.count("connection_made") == 1 and names[0] == "connection_made",
            f"connection_made has to be the first callback, once: {names}",
        )
        require(
            names.count("eof_received") <= 1,
            f"eof_received has to be called once at most: {names}",
        )
        require(
            "data_received" not in names,
            f"data_received must not be called after the end: {names}",
        )
        error = end.error
        require(
            error is None or isinstance(error, Exception),
            f"connection_lost needs an exception or None, not {error!r}",
        )
        flow = [name for name in names if name.endswith("_writing")]
        expected = ["pause_writing", "resume_writing"] * len(flow)
        require(
            flow == expected[: len(flow)],
            f"pause_writing and resume_writing have to alternate: {names}",
        )


def _check_tasks(before: set[asyncio.Task[object]]) -> None:
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    require(not left, f"no task may be left behind: {left}")


async def _check_cancelling(connect: Connect, timeout: float, turns: int) -> None:
    """Cancel connecting after some turns of the loop; see what is left."""
    tasks = asyncio.all_tasks()
    client, server = Recorder(timeout), Recorder(timeout)

    async def run() -> None:
        async with connect(lambda: client, lambda: server):
            pass

    task = asyncio.ensure_future(run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    # asyncio reports a handshake that the other end has ended.
    with reported_errors():
        await asyncio.wait((task,), timeout=timeout)
        await asyncio.sleep(0.02)  # the server may accept it in the meantime
    require(task.done(), "the cancelled task has to end")
    if not task.cancelled() and task.exception() is not None:
        raise AssertionError("cancelled, it must not fail") from task.exception()
    # An end that has its transport is the protocol's to close.
    if client.is_made and not client.is_lost:
        client.transport.abort()
        # No check: uvloop does not always call connection_lost then.
    if server.is_made:
        await server.wait_until_lost()
    _check_tasks(tasks)
