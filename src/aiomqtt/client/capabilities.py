"""What a broker offers, as its CONNACK says."""

from dataclasses import dataclass
from typing import Final

from aiomqtt.message import NO_PROPERTIES
from aiomqtt.protocol.engine import Engine
from aiomqtt.protocol.negotiated import ServerLimits
from aiomqtt.standard.names import V5

# A Session Expiry Interval of this value: the session does not expire.
NEVER: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the broker offers on a connection (MQTT 5.0 §3.2.2.3).

    What its CONNACK does not mention has the default of the standard. Below 5.0 a
    CONNACK mentions nothing, and what came only with 5.0 is not available.

    Attributes:
        receive_maximum: How many messages with QoS 1 and 2 it takes at once.
        maximum_qos: The highest QoS of a message that it takes: 0, 1 or 2.
        retain_available: Whether it retains messages.
        maximum_packet_size: The size of the largest packet that it takes, in bytes;
            ``None``: it has announced no limit.
        topic_alias_maximum: The highest topic alias that it takes; 0: none at all.
        wildcard_subscription_available: Whether topic filters may have wildcards.
        subscription_identifier_available: Whether a subscription may have an
            identifier; ``False`` below 5.0.
        shared_subscription_available: Whether it offers ``$share``; ``False`` below
            5.0, whose standard has none, although some brokers offer them there, too.
        server_keep_alive: The keep alive interval in effect, in seconds: that of the
            broker, or else the client's; 0: none.
        session_expiry_interval: How many seconds the session outlives the connection:
            by the broker, or else as the client asked; 0: not at all; 4,294,967,295: it
            does not expire, as with `clean_session=False` below 5.0.
        assigned_client_identifier: The client identifier that the broker assigned;
            ``None``: the client has its own.
        response_information: From which a client makes topics for responses;
            ``None``: the client has not asked for it, or the broker gives none.
    """

    receive_maximum: int
    maximum_qos: int
    retain_available: bool
    maximum_packet_size: int | None
    topic_alias_maximum: int
    wildcard_subscription_available: bool
    subscription_identifier_available: bool
    shared_subscription_available: bool
    server_keep_alive: int
    session_expiry_interval: int
    assigned_client_identifier: str | None
    response_information: str | None


def to_capabilities(engine: Engine) -> Capabilities | None:
    """Return what the last CONNACK that accepted says; None: there was none."""
    connack, settings = engine.connack, engine.settings
    if connack is None:
        return None
    is_v5 = engine.version >= V5
    limits = ServerLimits(connack)
    said = connack.properties or NO_PROPERTIES
    keep_alive = said.server_keep_alive
    if is_v5:
        expiry = said.session_expiry_interval
        if expiry is None:
            asked = settings.properties or NO_PROPERTIES
            expiry = asked.session_expiry_interval or 0
    else:
        expiry = NEVER if engine.session.exists else 0
    return Capabilities(
        receive_maximum=limits.receive_maximum,
        maximum_qos=limits.maximum_qos,
        retain_available=limits.retain_available,
        maximum_packet_size=limits.maximum_packet_size,
        topic_alias_maximum=limits.topic_alias_maximum,
        wildcard_subscription_available=limits.wildcards,
        subscription_identifier_available=is_v5 and limits.identifiers,
        shared_subscription_available=is_v5 and limits.shared,
        server_keep_alive=settings.keep_alive if keep_alive is None else keep_alive,
        session_expiry_interval=expiry,
        assigned_client_identifier=said.assigned_client_identifier,
        response_information=said.response_information,
    )
