"""The coroutines around a runner, which itself never waits.

What waits is Python: compiled code throws a cancellation in a way that Python 3.12 and
newer warn of.
"""

import asyncio

from aiomqtt.properties import Properties

from .runner import Runner
from .waiters import Waiter, explain_timeout


async def wait_for_answer(runner: Runner, waiter: Waiter, what: str) -> None:
    """Wait for what `Runner.waiter` returned.

    Args:
        runner: The connection.
        waiter: What it returned.
        what: What has not happened if the time runs out, for the cause of the error.

    Raises:
        MqttError: The connection ended, or the timeout.
    """
    try:
        error = await waiter
    finally:
        runner.forget(waiter)
    if error is not None:
        explain_timeout(error, what)
        raise error


async def wait_for_room(runner: Runner, size: int, timeout: float) -> None:
    """Wait until the transport takes more; first come, first served.

    Args:
        runner: The connection.
        size: About how many bytes the caller will write.
        timeout: Seconds to wait.

    Raises:
        MqttCodeError: The program is leaving the client: nothing more is accepted.
        MqttError: The connection ended, or the timeout.
    """
    waiter = runner.queue(size, timeout)
    try:
        error = await waiter
    finally:
        runner.leave_queue(waiter)
    if error is not None:
        explain_timeout(
            error,
            "there was no room to publish: the network takes messages more slowly than"
            " the program publishes them",
        )
        raise error


async def close(
    runner: Runner,
    flush: bool,
    reason_code: int = 0,
    properties: Properties | None = None,
) -> None:
    """Disconnect: returns when the socket is closed, or cut after the timeout.

    Args:
        runner: The connection.
        flush: First let those finish who wait for an answer, for at most the
            runner's timeout.
        reason_code: The reason code of the DISCONNECT.
        properties: The properties of the DISCONNECT.
    """
    runner.leave()
    if flush:
        idle = runner.idle()
        if not idle.done():
            await asyncio.wait((idle,), timeout=runner.timeout)
    runner.disconnect(reason_code, properties)
    await runner.closed()
    runner.abort()
