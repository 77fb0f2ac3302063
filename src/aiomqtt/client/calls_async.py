"""The coroutines around `Calls`, which itself never waits.

These are not compiled: compiled code passes on a cancellation in a way that Python 3.12
deprecates.
"""

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from aiomqtt.exceptions import MqttCodeError, MqttError
from aiomqtt.net.callables import CallableError
from aiomqtt.net.closing import LINGER
from aiomqtt.net.connect import open_connection
from aiomqtt.net.interruption import explain_interruption
from aiomqtt.net.target import Target
from aiomqtt.properties import Properties, ReasonCode
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.requests import Request

from .calls import Calls
from .waiters import TIMED_OUT, Waiter, copy_error, explain_timeout

if TYPE_CHECKING:
    from .authentication import Authenticator
    from .renewal import Renewal


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


async def wait_for_room(
    calls: Calls, size: int, timeout: float, mode: str = "wait"
) -> bool:
    """Wait until the transport has room; first come, first served.

    Args:
        calls: The calls of the client.
        size: How many bytes the caller will write.
        timeout: Seconds to wait.
        mode: "wait": wait for the next connection, too, if this one ends.

    Returns:
        Whether there is room; False: the connection has ended.

    Raises:
        MqttCodeError: The program is leaving the client: nothing more is accepted.
        MqttError: The connection ended, or the call timed out.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    remaining, is_back = timeout, False
    while True:
        waiter = calls.queue(size, remaining, is_back)
        if mode != "wait":
            calls.hurry(waiter, False)
        try:
            error = await waiter
        finally:
            calls.leave_queue(waiter)
        if error is not None:
            what = (
                "there was no room to publish: the network takes messages more slowly"
                " than the program publishes them"
            )
            if calls.is_waiting_for_connection:
                what = f"there was no connection within {timeout} seconds"
            explain_timeout(error, what)
            raise error
        if not calls.is_waiting_for_connection:
            return True
        if mode != "wait":
            return False
        # The connection ended before this task ran.
        remaining, is_back = max(0.0, end - loop.time()), True


async def request(
    calls: Calls | None,
    make: Callable[[], Request | None],
    timeout: float,
    threshold: int,
) -> list[ReasonCode]:
    """Send a request, and return the reason codes of its answer.

    Args:
        calls: The calls of the client, if it is entered.
        make: Creates the request in the engine; None: there is nothing to request.
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
    if made is None:
        return []
    assert calls is not None
    made.observer = waiter = calls.waiter(timeout)
    calls.push()
    calls.warn_if_many(threshold)
    what = f"no {made.answer.name} came within {timeout} seconds"
    try:
        await wait_for_answer(calls, waiter, what)
    except BaseException:
        calls.abandon_request(made)
        raise
    return made.reason_codes


async def connect(
    calls: Calls,
    engine: Engine,
    target: Target,
    timeout: float,
    renewal: "Renewal | None" = None,
    authenticator: "Authenticator | None" = None,
) -> None:
    """Connect, and return when the broker has accepted the connection.

    On an error the caller must abort the connection.

    Args:
        calls: The calls of the client.
        engine: The engine.
        target: The target to connect to.
        timeout: The time that all of it may take, in seconds.
        renewal: Sets parts of the CONNECT before the target is opened; None: they
            stay as they are.
        authenticator: Authenticates the client in several steps, or None.

    Raises:
        MqttError: The connection failed, or the attempt timed out.
        ValueError: `renewal` got a value that violates a rule.
        TypeError: `renewal` got a value of a wrong type.
    """
    driver = calls.driver
    # It has the methods of one.
    protocol = cast("asyncio.Protocol", driver)

    async def begin(authentication_data: bytes | None = None) -> None:
        if calls.is_leaving:
            raise MqttError("Disconnected")
        engine.connect(authentication_data)
        await open_connection(target, lambda: protocol)
        driver.process()

    failure: MqttError | None = None
    error: MqttError | None = None
    try:
        async with asyncio.timeout(None if timeout == math.inf else timeout):
            if renewal is not None:
                # Also if it does not return in time.
                calls.has_program_failed = True
                await renewal.renew(engine)
                calls.has_program_failed = False
            if authenticator is None:
                await begin()
                error = await calls.connected
            else:
                from .authentication import authenticate

                error = await authenticate(
                    calls, engine, authenticator, begin, calls.connected
                )
    except CallableError as raised:
        calls.has_program_failed = True
        failure = raised.to_mqtt_error(target)
    except TimeoutError as expired:
        if authenticator is not None:
            what = f"{target} and the authenticator did not agree"
        elif driver.writer.transport is None:
            what = f"{target} did not answer"
        else:
            what = f"{target} sent no CONNACK"
        why = explain_interruption(expired.__cause__, what, timeout)
        raise MqttError(TIMED_OUT) from TimeoutError(why)
    if failure is not None:
        # Not above: its context would be the CallableError.
        raise failure
    # If other packets came with the CONNACK, the connection may have ended by now.
    if error is None and calls.is_over:
        error = calls.error or MqttError("Disconnected")
    if error is not None:
        if authenticator is not None:
            # The DISCONNECT has to arrive before the caller aborts the connection.
            await asyncio.wait((driver.closed,), timeout=LINGER)
        raise copy_error(error) from error.__cause__


async def close(
    calls: Calls,
    flush: bool,
    reason_code: int = 0,
    properties: Properties | None = None,
    before_leaving: Callable[[], None] | None = None,
) -> None:
    """Disconnect: returns when the socket is closed, or cut after the timeout.

    Args:
        calls: The calls of the client.
        flush: First wait for the calls that wait for an answer, for at most the
            timeout of `Calls`.
        reason_code: The reason code of the DISCONNECT.
        properties: The properties of the DISCONNECT.
        before_leaving: Called before the DISCONNECT, when no call waits any more.
    """
    calls.leave()
    if flush:
        idle = calls.idle()
        if not idle.done():
            await asyncio.wait((idle,), timeout=calls.timeout)
    if before_leaving is not None:
        before_leaving()
    driver = calls.driver
    driver.disconnect(reason_code, properties)
    # Without a transport, there is nothing that could close.
    if driver.writer.transport is not None and not driver.closed.done():
        await asyncio.wait((driver.closed,), timeout=calls.timeout)
    driver.abort()
