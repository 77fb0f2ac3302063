"""The attempts to connect to the first of several addresses that accepts.

Like all coroutines that wait, these are not compiled.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiomqtt.exceptions import MqttError
from aiomqtt.net.target import ServiceTarget, TcpTarget
from aiomqtt.protocol.engine import Engine

from .addresses import LONGEST_ATTEMPT, Addresses, time_for_attempt
from .calls import Calls
from .calls_async import connect
from .route import Route
from .waiters import TIMED_OUT

if TYPE_CHECKING:
    from .authentication import Authenticator
    from .renewal import Renewal

# With fewer seconds left nothing is tried. The timers of an event loop may be early by
# the resolution of its clock.
LEAST_TIME: Final = 0.002


async def connect_to_first(
    calls: Calls,
    engine: Engine,
    addresses: Addresses,
    timeout: float,
    renewal: "Renewal | None" = None,
    authenticator: "Authenticator | None" = None,
) -> None:
    """Connect to the first address that accepts.

    Each attempt has a connection of its own: `Calls.begin_connection`. On an error the
    caller must abort the last one; the others have left nothing behind.

    Args:
        calls: The calls of the client; no connection has begun, or the last is over.
        engine: The engine.
        addresses: The addresses.
        timeout: The time that all attempts may take, in seconds.
        renewal: Sets parts of the CONNECT for each attempt; None: they stay the same.
        authenticator: Authenticates the client in several steps, or None.

    Raises:
        MqttError: All attempts failed, or one for a reason that stops them; see
            `Route.goes_on_after`. A failure of `renewal` or `authenticator` stops them,
            too.
        ValueError: `renewal` or the function for redirections got a value that violates
            a rule.
        TypeError: `renewal` or the function for redirections got a value of a wrong
            type.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    route = Route(addresses)
    failures = route.failures
    if route.ignored:
        text = "The redirection is not followed: %s"
        calls.logger.event(
            logging.WARNING, "redirection_ignored", {}, text, route.ignored
        )
    while route.untried:
        remaining = end - loop.time() if failures.count else timeout
        if remaining < LEAST_TIME and failures.count:
            break
        attempts = len(route.untried)
        seconds = time_for_attempt(remaining, attempts, addresses.attempt_timeout)
        step = route.next()
        try:
            if isinstance(step.target, ServiceTarget):
                route.expand(step, await _find_brokers(calls, step.target, seconds))
                continue
            target = str(step.target)
            if calls.commits is not None:
                # The last connection has to be over for everybody.
                await calls.commits.settled()
            if calls.is_over or calls.target != target:
                calls.begin_connection(target)
            await connect(calls, engine, step.target, seconds, renewal, authenticator)
        except MqttError as error:
            stops = calls.is_leaving or calls.has_program_failed
            if stops or not route.goes_on_after(step, error):
                failures.add_note_to(error)
                raise
        else:
            addresses.on_connected(step)
            return
        calls.driver.abort()
        if route.untried and calls.logger.isEnabledFor(logging.INFO):
            following = route.untried[0].target
            said = failures.last
            fields = {
                "next_broker": str(following),
                "reason_code": failures.last_code,
            }
            text = "Could not connect to %s: trying %s"
            calls.logger.event(
                logging.INFO, "attempt_failed", fields, text, said, following
            )
    raise failures.to_error(route.untried, timeout)


async def _find_brokers(
    calls: Calls, target: ServiceTarget, timeout: float
) -> list[TcpTarget]:
    """Return the brokers of a domain, within a timeout in seconds.

    Raises:
        MqttError: None was found in time.
    """
    from aiomqtt.net.srv import find_brokers

    seconds = min(timeout, LONGEST_ATTEMPT)
    try:
        async with asyncio.timeout(seconds):
            found = await find_brokers(target, seconds)
    except TimeoutError:
        why = f"{target} was answered by no name server within {seconds:.4g} seconds"
        raise MqttError(TIMED_OUT) from TimeoutError(why)
    if calls.is_leaving:
        raise MqttError("Disconnected")
    return found
