"""The coroutines around `Calls`, which itself never waits.

What waits is Python: compiled code throws a cancellation in a way that Python 3.12 and
newer warn of.
"""

import asyncio

from aiomqtt.properties import Properties

from .calls import Calls
from .waiters import Waiter, explain_timeout


async def wait_for_answer(calls: Calls, waiter: Waiter, what: str) -> None:
    """Wait for what `Calls.waiter` returned.

    Args:
        calls: The calls of the client.
        waiter: What it returned.
        what: What has not happened if the time runs out, for the cause of the error.

    Raises:
        MqttError: The connection ended, or the timeout.
    """
    try:
        error = await waiter
    finally:
        calls.forget(waiter)
    if error is not None:
        explain_timeout(error, what)
        raise error


async def wait_for_room(calls: Calls, size: int, timeout: float) -> None:
    """Wait until the transport takes more; first come, first served.

    Args:
        calls: The calls of the client.
        size: About how many bytes the caller will write.
        timeout: Seconds to wait.

    Raises:
        MqttCodeError: The program is leaving the client: nothing more is accepted.
        MqttError: The connection ended, or the timeout.
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


async def close(
    calls: Calls,
    flush: bool,
    reason_code: int = 0,
    properties: Properties | None = None,
) -> None:
    """Disconnect: returns when the socket is closed, or cut after the timeout.

    Args:
        calls: The calls of the client.
        flush: First let those finish who wait for an answer, for at most the
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
