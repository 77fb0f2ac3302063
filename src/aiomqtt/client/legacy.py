"""Private attributes of aiomqtt 2.5 that programs use. They are deprecated.

Each works as in 2.5, with a `DeprecationWarning` that names the public equivalent
(Python shows these warnings on demand). A program's own attribute of that name takes
precedence.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client


class _Legacy:
    """An attribute that is created when read, unless the program has set its own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, client: "Client | None", owner: type) -> Any:
        if client is None:
            return self
        # A settable attribute hides the instance's, so look there first.
        if self._name in client.__dict__:
            return client.__dict__[self._name]
        from .legacy_values import read

        return read(client, self._name)


class _LegacyProperties(_Legacy):
    """The properties of the CONNECT; a new value applies to the next connection."""

    def __set__(self, client: "Client", value: Any) -> None:
        if "_engine" in client.__dict__:
            from .legacy_values import set_properties

            if set_properties(client, value):
                return
        # A subclass uses the name for an attribute of its own.
        client.__dict__[self._name] = value


class LegacyAttributes:
    """The private attributes of aiomqtt 2.5's client."""

    if not TYPE_CHECKING:
        _hostname = _Legacy()
        _port = _Legacy()
        _properties = _LegacyProperties()
        _client = _Legacy()
        _connected = _Legacy()
        _disconnected = _Legacy()
        _queue = _Legacy()
