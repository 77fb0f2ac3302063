"""Futures and observers that receive the outcome of a call."""

import asyncio
import copy
from typing import Final, TypeAlias

from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.delivery import Delivery

# Programs compare this text; the cause of the error gives the details.
TIMED_OUT: Final = "Operation timed out"

# It resolves to an error, or to None. The error is a result and not an exception, so
# that asyncio logs nothing when nobody awaits it any more.
Waiter: TypeAlias = asyncio.Future[MqttError | None]


class DeliveryObserver:
    """Receives the outcome of deliveries."""

    def settle(self, delivery: Delivery) -> bool:
        """Note that a delivery has ended; return whether a caller learns of it."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Forget the waiting callers: their event loop is closed."""
        raise NotImplementedError


class Unwatched(DeliveryObserver):
    """Stands for callers that do not learn how a message ends."""

    def settle(self, delivery: Delivery) -> bool:
        """No caller learns of it."""
        return False

    def abandon(self) -> None:
        """There is no caller to forget."""


UNWATCHED: Final = Unwatched()


def resolve(waiter: Waiter, error: MqttError | None) -> None:
    """Resolve a waiter, unless it has been resolved or cancelled."""
    if not waiter.done():
        waiter.set_result(error)


def expire(waiter: Waiter) -> None:
    """Resolve a waiter with a timeout error."""
    resolve(waiter, MqttError(TIMED_OUT))


def explain_timeout(error: MqttError, what: str) -> None:
    """Add the cause to a timeout error; leave other errors unchanged."""
    if error.args == (TIMED_OUT,):
        error.__cause__ = TimeoutError(what)


def copy_error(error: MqttError) -> MqttError:
    """Copy an error that several calls raise: each has its own traceback."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = [*error.__notes__]
    return copied
