"""The packets that each phase of a connection accepts, and their handlers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiomqtt.protocol.dispatch import by_packet_type
from aiomqtt.protocol.packets import Ping
from aiomqtt.standard.tables import PacketType

from .authentication import handle_auth
from .connect_handlers import handle_connect, handle_disconnect
from .events import ConnectionPhase
from .publish_handlers import handle_ack, handle_publish
from .subscribe_handlers import handle_subscribe, handle_unsubscribe

if TYPE_CHECKING:
    from .connection import ClientConnection

_PINGRESP: Final = b"\xd0\x00"


def handle_pingreq(connection: "ClientConnection", packet: Ping) -> None:
    """Answer a PINGREQ (§3.12)."""
    connection.send_buffer.write(_PINGRESP)


# A handler takes the packet of its row.
Handler: TypeAlias = Callable[[Any, Any], None]
# A packet that is not listed is a protocol error.
_ROWS: Final[dict[tuple[ConnectionPhase, PacketType], Handler]] = {
    (ConnectionPhase.CONNECTING, PacketType.CONNECT): handle_connect,
    (ConnectionPhase.AUTHENTICATING, PacketType.AUTH): handle_auth,
    (ConnectionPhase.AUTHENTICATING, PacketType.DISCONNECT): handle_disconnect,
    (ConnectionPhase.CONNECTED, PacketType.PUBLISH): handle_publish,
    (ConnectionPhase.CONNECTED, PacketType.PUBACK): handle_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBREC): handle_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBREL): handle_ack,
    (ConnectionPhase.CONNECTED, PacketType.PUBCOMP): handle_ack,
    (ConnectionPhase.CONNECTED, PacketType.SUBSCRIBE): handle_subscribe,
    (ConnectionPhase.CONNECTED, PacketType.UNSUBSCRIBE): handle_unsubscribe,
    (ConnectionPhase.CONNECTED, PacketType.PINGREQ): handle_pingreq,
    (ConnectionPhase.CONNECTED, PacketType.DISCONNECT): handle_disconnect,
    (ConnectionPhase.CONNECTED, PacketType.AUTH): handle_auth,
}
# The same by the number of the packet type, for each phase.
HANDLERS: Final[dict[ConnectionPhase, list[Handler | None]]] = by_packet_type(
    _ROWS, ConnectionPhase
)
