"""Private attributes of aiomqtt 2.5 that programs reach for: deprecated.

Each does what it did there, and warns of the public way (`DeprecationWarning`, which
Python shows on demand). A program's own attribute of that name goes first.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .message import Message
from .paho import to_properties
from .properties import Properties
from .protocol.codec.size import message_size

if TYPE_CHECKING:
    from .client import Client

# The frames between a warning and the program: the attribute and its `__get__`.
_STACK_LEVEL: Final = 3


def _warn(name: str, instead: str) -> None:
    msg = f"client.{name} is private to aiomqtt 2.5 and deprecated: use {instead}"
    warnings.warn(msg, DeprecationWarning, _STACK_LEVEL)


class _Legacy:
    """An attribute that is made when it is read, unless the program has set its own.

    Args:
        instead: What to use in its place.
        read: Makes it for a client.
    """

    def __init__(self, instead: str, read: "Callable[[Client], Any]") -> None:
        self._instead = instead
        self._read = read
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, client: "Client | None", owner: type) -> Any:
        if client is None:
            return self
        _warn(self._name, self._instead)
        return self._read(client)


class _LegacyProperties(_Legacy):
    """The properties of the CONNECT, which can be set for the next one."""

    def __get__(self, client: "Client | None", owner: type) -> Any:
        if client is not None and self._name in client.__dict__:
            return client.__dict__[self._name]
        return super().__get__(client, owner)

    def __set__(self, client: "Client", value: Any) -> None:
        if "_engine" not in client.__dict__ or not (
            isinstance(value, Properties | None) or hasattr(value, "packetType")
        ):
            # A subclass has one of its own.
            client.__dict__[self._name] = value
            return
        _warn(self._name, self._instead)
        engine = client._engine
        properties = to_properties("properties", value)
        engine.settings = engine.settings._replace(properties=properties)


class _Future:
    """What programs ask of the futures that aiomqtt 2.5 had."""

    def __init__(self, is_done: bool) -> None:
        self._is_done = is_done

    def done(self) -> bool:
        """Whether it had a result there."""
        return self._is_done


class _Queue:
    """What programs ask of the queue of incoming messages."""

    def __init__(self, client: "Client") -> None:
        self._inbox = client._inbox

    def qsize(self) -> int:
        """Return the number of messages that wait."""
        return len(self._inbox)

    def empty(self) -> bool:
        """Whether no message waits."""
        return not len(self._inbox)

    async def put(self, message: Message) -> None:
        """Add a message, as if the broker had sent it."""
        self.put_nowait(message)

    def put_nowait(self, message: Message) -> None:
        """Add a message, as if the broker had sent it."""
        self._inbox.deliver([message], message_size(message))


class _PahoClient:
    """What programs ask of paho-mqtt's client, which there is none of any more."""

    def __init__(self, client: "Client") -> None:
        self._aiomqtt = client

    def is_connected(self) -> bool:
        """Whether there is a connection that the broker has accepted."""
        return self._aiomqtt.is_connected()

    def username_pw_set(
        self, username: str | None, password: str | None = None
    ) -> None:
        """Set user name and password for the connections from now on."""
        self._aiomqtt.set_credentials(username, password)

    def __getattr__(self, name: str) -> NoReturn:
        """Say that the rest of paho-mqtt's client is not there."""
        if name == "ws_set_options":
            msg = "ws_set_options comes with transport='websockets'"
        else:
            msg = f"there is no paho-mqtt beneath the client: it has no {name!r}"
        raise AttributeError(msg, name=name, obj=self)


class LegacyAttributes:
    """The private attributes of aiomqtt 2.5's client."""

    if not TYPE_CHECKING:
        _hostname = _Legacy("what the program gave", lambda c: c._target.hostname)
        _port = _Legacy("what the program gave", lambda c: c._target.port)
        _properties = _LegacyProperties(
            "Client(properties=...)", lambda c: c._engine.settings.properties
        )
        _client = _Legacy("is_connected() and set_credentials()", _PahoClient)
        _connected = _Legacy(
            "client.is_connected()",
            lambda c: _Future(c.is_connected() or _is_disconnected(c)),
        )
        _disconnected = _Legacy(
            "client.is_connected()", lambda c: _Future(_is_disconnected(c))
        )
        _queue = _Legacy("client.messages, also for len()", _Queue)


def _is_disconnected(client: "Client") -> bool:
    """Whether the connection is over, and the client still entered."""
    return client._runner is not None and client._runner.is_over
