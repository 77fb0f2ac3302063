"""Who waits for a connection: futures, and what has its own way of being told."""

import asyncio
import copy
from typing import Final, TypeAlias

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.delivery import Delivery

# Programs compare this text: what did not happen is the cause's to say.
TIMED_OUT: Final = "Operation timed out"

# What a waiter's future resolves to: an error, or None. It is a result and not an
# exception, so that nothing complains when nobody is left to look at it.
Waiter: TypeAlias = asyncio.Future[MqttError | None]


class DeliveryObserver:
    """What waits for deliveries in its own way, as their `waiter`."""

    def settle(self, delivery: Delivery) -> bool:
        """Take note that a delivery is done; return whether anybody was told."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Forget those who wait: their event loop is closed."""
        raise NotImplementedError


def resolve(waiter: Waiter, error: MqttError | None) -> None:
    """Tell a waiter, unless it was told or has given up."""
    if not waiter.done():
        waiter.set_result(error)


def expire(waiter: Waiter) -> None:
    """Tell a waiter that its time is over."""
    resolve(waiter, MqttError(TIMED_OUT))


def explain_timeout(error: MqttError, what: str) -> None:
    """Say in the cause of a timeout what did not happen; leave other errors alone."""
    if error.args == (TIMED_OUT,):
        error.__cause__ = TimeoutError(what)


def copy_error(error: MqttError) -> MqttError:
    """Return an error of one's own for each who raises it: tracebacks add up."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
