"""The coroutines around `Calls`, which itself never waits.

These are not compiled: compiled code passes on a cancellation in a way that Python 3.12
deprecates.
"""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.net.connect import open_connection
from aiomqtt.net.target import Target
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.requests import Request

from .calls import Calls
from .waiters import TIMED_OUT, Waiter, copy_error, explain_timeout


async def wait_for_answer(calls: Calls, waiter: Waiter, what: str) -> None:
    """Wait for a future that `Calls.waiter` returned.

    Args:
        calls: The calls of the client.
        waiter: The future.
        what: Describes in the cause of a timeout error what did not happen.

    Raises:
        MqttError: The connection ended, or the call timed out.
    """
    try:
        error = await waiter
    finally:
        calls.forget(waiter)
    if error is not None:
        explain_timeout(error, what)
        raise error


async def wait_for_room(calls: Calls, size: int, timeout: float) -> None:
    """Wait until the transport has room; first come, first served.

    Args:
        calls: The calls of the client.
        size: How many bytes the caller will write.
        timeout: Seconds to wait.

    Raises:
        MqttCodeError: The program is leaving the client: nothing more is accepted.
        MqttError: The connection ended, or the call timed out.
    """
    waiter = calls.queue(size, timeout)
    try:
        error = await waiter
    finally:
        calls.leave_queue(waiter)
    if error is not None:
        explain_timeout(
            error,
            "there was no room to publish: the network takes messages more slowly than"
            " the program publishes them",
        )
        raise error


async def request(
    calls: Calls | None, make: Callable[[], Request], timeout: float, threshold: int
) -> list[ReasonCode]:
    """Send a request, and return the reason codes of its answer.

    Args:
        calls: The calls of the client, if it is entered.
        make: Creates the request in the engine.
        timeout: The time to wait for the answer, in seconds.
        threshold: The number of pending calls above which a warning is logged.

    Raises:
        MqttCodeError: There is no connection.
        MqttError: The connection ended, or the call timed out.
    """
    if calls is not None:
        calls.check_loop()
    try:
        made = make()
    except MqttCodeError as error:
        raise error from None if calls is None else calls.error
    assert calls is not None
    made.observer = waiter = calls.waiter(timeout)
    calls.push()
    calls.warn_if_many(threshold)
    what = f"no {made.answer.name} came within {timeout} seconds"
    await wait_for_answer(calls, waiter, what)
    return made.reason_codes


async def connect(calls: Calls, engine: Engine, target: Target, timeout: float) -> None:
    """Connect, and return when the broker has accepted the connection.

    On an error the caller must abort the connection.

    Args:
        calls: The calls of the client.
        engine: The engine.
        target: The target to connect to.
        timeout: The time that all of it may take, in seconds.

    Raises:
        MqttError: The connection failed, or the attempt timed out.
    """
    driver = calls.driver
    # It has the methods of one.
    protocol = cast("asyncio.Protocol", driver)
    try:
        async with asyncio.timeout(None if timeout == math.inf else timeout):
            engine.connect()
            await open_connection(target, lambda: protocol)
            driver.process()
            error = await calls.connected
    except TimeoutError:
        what = "did not answer" if driver.transport is None else "sent no CONNACK"
        why = f"{target} {what} within {timeout} seconds"
        raise MqttError(TIMED_OUT) from TimeoutError(why)
    # If other packets came with the CONNACK, the connection may have ended by now.
    if error is None and calls.is_over:
        error = calls.error or MqttError("Disconnected")
    if error is not None:
        raise copy_error(error) from error.__cause__


async def close(
    calls: Calls,
    flush: bool,
    reason_code: int = 0,
    properties: Properties | None = None,
) -> None:
    """Disconnect: returns when the socket is closed, or cut after the timeout.

    Args:
        calls: The calls of the client.
        flush: First wait for the calls that wait for an answer, for at most the
            timeout of `Calls`.
        reason_code: The reason code of the DISCONNECT.
        properties: The properties of the DISCONNECT.
    """
    calls.leave()
    if flush:
        idle = calls.idle()
        if not idle.done():
            await asyncio.wait((idle,), timeout=calls.timeout)
    driver = calls.driver
    driver.disconnect(reason_code, properties)
    if not driver.closed.done():
        await asyncio.wait((driver.closed,), timeout=calls.timeout)
    driver.abort()
