"""The parts of a CONNECT that callables of the program return for each attempt.

Imported for a client that has such callables, since most have none.
"""

import inspect
from collections.abc import Callable
from typing import Any

from aiomqtt.net.callables import CallableError
from aiomqtt.net.cancellation import tell_cancellations_apart
from aiomqtt.net.interruption import waiting
from aiomqtt.protocol.engine import Engine
from aiomqtt.standard.tables import ProtocolVersion

from .arguments import to_credentials, to_will


class Renewal:
    """Calls the program's callables, and sets their results for the next CONNECT.

    Args:
        credentials: Returns the user name and the password; None: they do not change.
        will: Returns the will, or None for no will; None: it does not change.
    """

    def __init__(
        self,
        credentials: Callable[[], Any] | None,
        will: Callable[[], Any] | None,
    ) -> None:
        self._credentials = credentials
        self._will = will

    @property
    def has_credentials(self) -> bool:
        """Whether it sets user name and password."""
        return self._credentials is not None

    async def renew(self, engine: Engine) -> None:
        """Call the callables, one after the other, and set their results.

        After a cancellation or an error nothing has changed.

        Args:
            engine: The engine that will send the CONNECT.

        Raises:
            CallableError: A callable raised an exception.
            ValueError: A callable returned a value that violates a rule.
            TypeError: A callable returned a value of a wrong type.
        """
        changes: dict[str, Any] = {}
        if self._credentials is not None:
            result = await call("credentials", self._credentials)
            version = engine.settings.version
            changes["username"], changes["password"] = _to_pair(version, result)
        if self._will is not None:
            changes["will"] = to_will(await call("will", self._will))
        # The program may have changed other settings meanwhile.
        engine.settings = engine.settings._replace(**changes)


async def call(name: str, function: Callable[[], Any]) -> Any:
    """Return the result of a callable, which may be a coroutine function."""
    try:
        missing = f"the callable for {name} did not return"
        with waiting(missing), tell_cancellations_apart():
            result = function()
            if inspect.isawaitable(result):
                result = await result
    except Exception as error:
        # The text of the exception is left out: it may hold a secret.
        msg = f"the callable for {name} raised {type(error).__name__}"
        raise CallableError(msg) from error
    return result


def _to_pair(
    version: ProtocolVersion, result: object
) -> tuple[str | None, bytes | None]:
    """Return user name and password; no error shows them."""
    if not isinstance(result, tuple | list):
        msg = (
            "the callable for credentials must return a tuple of user name and"
            f" password, not {type(result).__name__}"
        )
        raise TypeError(msg)
    if len(result) != 2:
        msg = (
            "the callable for credentials must return a user name and a password, not"
            f" {len(result)} values"
        )
        raise ValueError(msg)
    try:
        return to_credentials(version, *result)
    except (TypeError, ValueError) as error:
        msg = f"the callable for credentials returned a wrong value: {error}"
        raise type(error)(msg) from None
