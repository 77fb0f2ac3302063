"""A test kit for programs that use MQTT, and for this library.

- `Script`: a scripted broker, packet by packet;
- `serve`, `RawPeer` and `RawServer`: a scripted broker in raw bytes;
- `check_transport`: checks for an implementation of a transport;
- `check_store`: checks for an implementation of a store of sessions;
- `FaultProxy` and `FaultOrder`: a network that fails at a chosen packet;
- `NetworkConditions`: how fast and how steady that network is;
- `RecordingBroker`: a broker that keeps the messages that were published;
- `simulate`: tests that wait for hours in simulated time;
- the fixtures `mqtt_broker` and `mqtt_client` for pytest, which need no import.
"""

from typing import TYPE_CHECKING

from aiomqtt.standard.tables import PacketType

if TYPE_CHECKING:
    from .checks import check_transport
    from .fault_order import FaultOrder
    from .fault_proxy import FaultProxy
    from .network_conditions import NetworkConditions
    from .raw_peer import RawPeer, RawServer, serve
    from .recording_broker import RecordingBroker
    from .script import Script
    from .sender import BROKER, CLIENT, Sender
    from .simulation import simulate
    from .store_checks import check_store

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

# The modules of the other names. They are imported on first use, because pytest imports
# this package in order to load its plugin.
_MODULES = {
    "BROKER": "sender",
    "CLIENT": "sender",
    "FaultOrder": "fault_order",
    "FaultProxy": "fault_proxy",
    "NetworkConditions": "network_conditions",
    "RawPeer": "raw_peer",
    "RawServer": "raw_peer",
    "RecordingBroker": "recording_broker",
    "Script": "script",
    "Sender": "sender",
    "check_store": "store_checks",
    "check_transport": "checks",
    "serve": "raw_peer",
    "simulate": "simulation",
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
    "FaultOrder",
    "FaultProxy",
    "NetworkConditions",
    "RawPeer",
    "RawServer",
    "RecordingBroker",
    "Script",
    "Sender",
    "check_store",
    "check_transport",
    "serve",
    "simulate",
]


if not TYPE_CHECKING:

    def __getattr__(name):
        """Import the module of a name."""
        if name in _MODULES:
            from importlib import import_module

            return getattr(import_module(f".{_MODULES[name]}", __name__), name)
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
