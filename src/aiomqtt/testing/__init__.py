"""For tests: of programs that use MQTT, and of this library.

- `Script`: a broker that has a conversation, packet by packet, as it was written down;
- `serve` and `Peer`: one that says just any bytes;
- `FaultProxy`: a network between a client and a broker that breaks at a chosen packet;
- the fixtures `mqtt_broker` and `mqtt_client` for pytest, which need no import.
"""

from typing import TYPE_CHECKING

from aiomqtt.standard.tables import PacketType

if TYPE_CHECKING:
    from .fault_proxy import FaultProxy, Order
    from .forwarding import BROKER, CLIENT, Sender
    from .raw_peer import Peer, Server, serve
    from .script import Script

CONNECT = PacketType.CONNECT
CONNACK = PacketType.CONNACK
PUBLISH = PacketType.PUBLISH
PUBACK = PacketType.PUBACK
PUBREC = PacketType.PUBREC
PUBREL = PacketType.PUBREL
PUBCOMP = PacketType.PUBCOMP
SUBSCRIBE = PacketType.SUBSCRIBE
SUBACK = PacketType.SUBACK
UNSUBSCRIBE = PacketType.UNSUBSCRIBE
UNSUBACK = PacketType.UNSUBACK
PINGREQ = PacketType.PINGREQ
PINGRESP = PacketType.PINGRESP
DISCONNECT = PacketType.DISCONNECT
AUTH = PacketType.AUTH

# Where the rest is; imported when it is asked for, as pytest imports this package to
# load its plugin.
_MODULES = {
    "BROKER": "forwarding",
    "CLIENT": "forwarding",
    "FaultProxy": "fault_proxy",
    "Order": "fault_proxy",
    "Peer": "raw_peer",
    "Script": "script",
    "Sender": "forwarding",
    "Server": "raw_peer",
    "serve": "raw_peer",
}

__all__ = [
    "AUTH",
    "BROKER",
    "CLIENT",
    "CONNACK",
    "CONNECT",
    "DISCONNECT",
    "PINGREQ",
    "PINGRESP",
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "SUBACK",
    "SUBSCRIBE",
    "UNSUBACK",
    "UNSUBSCRIBE",
    "FaultProxy",
    "Order",
    "Peer",
    "Script",
    "Sender",
    "Server",
    "serve",
]


if not TYPE_CHECKING:

    def __getattr__(name):
        """Import what is asked for."""
        if name in _MODULES:
            from importlib import import_module

            return getattr(import_module(f".{_MODULES[name]}", __name__), name)
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
