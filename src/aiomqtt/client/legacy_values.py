"""The values of the private attributes of aiomqtt 2.5: see `legacy`.

Imported when a program first uses one of them, since most programs never do.
"""

import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn

from aiomqtt.message import Message
from aiomqtt.paho import to_properties
from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.size import message_size
from aiomqtt.types import WebSocketHeaders

if TYPE_CHECKING:
    from .client import Client


class _Future:
    """Stands for a future of aiomqtt 2.5, with the methods that programs use."""

    def __init__(self, is_done: bool) -> None:
        self._is_done = is_done

    def done(self) -> bool:
        """Return whether the future would have had a result in 2.5."""
        return self._is_done


class _Queue:
    """Stands for the queue of incoming messages, with the methods that programs use."""

    def __init__(self, client: "Client") -> None:
        self._stream = client._stream

    def qsize(self) -> int:
        """Return the number of waiting messages."""
        return len(self._stream)

    def empty(self) -> bool:
        """Return whether no message is waiting."""
        return not len(self._stream)

    async def put(self, message: Message) -> None:
        """Add a message, as if the broker had sent it."""
        self.put_nowait(message)

    def put_nowait(self, message: Message) -> None:
        """Add a message, as if the broker had sent it."""
        self._stream.deliver([message], message_size(message))


class _PahoClient:
    """Stands for paho-mqtt's client, with the methods that programs use."""

    def __init__(self, client: "Client") -> None:
        self._aiomqtt = client

    def is_connected(self) -> bool:
        """Return whether there is a connection that the broker has accepted."""
        return self._aiomqtt.is_connected()

    def username_pw_set(
        self, username: str | None, password: str | None = None
    ) -> None:
        """Set user name and password for the connections from now on."""
        self._aiomqtt.set_credentials(username, password)

    def ws_set_options(
        self, path: str = "/mqtt", headers: WebSocketHeaders | None = None
    ) -> None:
        """Set path and headers of the WebSocket connections from now on."""
        self._aiomqtt.set_websocket_options(path, headers)

    def __getattr__(self, name: str) -> NoReturn:
        """Raise AttributeError for all other attributes of paho-mqtt's client."""
        msg = f"there is no paho-mqtt beneath the client: it has no {name!r}"
        raise AttributeError(msg, name=name, obj=self)


def _is_disconnected(client: "Client") -> bool:
    """Return whether the connection has ended while the client is entered."""
    return client._calls is not None and client._calls.is_over


_INSTEAD: Final = {
    "_hostname": "what the program gave",
    "_port": "what the program gave",
    "_properties": "Client(properties=...)",
    "_client": "is_connected(), set_credentials() and set_websocket_options()",
    "_connected": "client.is_connected()",
    "_disconnected": "client.is_connected()",
    "_queue": "client.messages, also for len()",
}
# The frames between a warning and the program: `_warn`, its caller and the attribute.
_STACK_LEVEL: Final = 4


def read(client: "Client", name: str) -> Any:
    """Return the value of an attribute, and warn."""
    _warn(name)
    match name:
        case "_hostname":
            return client._addresses.targets[0].hostname
        case "_port":
            return client._addresses.targets[0].port
        case "_properties":
            return client._engine.settings.properties
        case "_client":
            return _PahoClient(client)
        case "_connected":
            return _Future(client.is_connected() or _is_disconnected(client))
        case "_disconnected":
            return _Future(_is_disconnected(client))
        case _:
            return _Queue(client)


def set_properties(client: "Client", value: Any) -> bool:
    """Set the properties of the next CONNECT, and warn; False: it has a wrong type."""
    if not (isinstance(value, Properties | None) or hasattr(value, "packetType")):
        return False
    _warn("_properties")
    engine = client._engine
    properties = to_properties("properties", value)
    engine.settings = engine.settings._replace(properties=properties)
    return True


def _warn(name: str) -> None:
    msg = f"client.{name} is private to aiomqtt 2.5 and deprecated: use"
    msg += f" {_INSTEAD[name]}"
    warnings.warn(msg, DeprecationWarning, _STACK_LEVEL)
