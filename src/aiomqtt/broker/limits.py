"""What a broker offers, and how much of its process it gives to its clients."""

from dataclasses import dataclass, fields
from typing import Final

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a broker; a client of 5.0 is told those that concern it.

    Args:
        maximum_qos: The highest QoS that may be published and is granted: 0, 1 or 2.
        retain_available: Whether messages can be retained.
        wildcard_subscriptions: Whether topic filters may have wildcards.
        subscription_identifiers: Whether subscriptions may have identifiers.
        shared_subscriptions: Whether there are shared subscriptions.
        receive_maximum: How many messages with QoS 1 and 2 a client may have
            unacknowledged, 1 to 65535. Below 5.0, where nothing can be announced, it
            does not count.
        topic_alias_maximum: The highest topic alias, 0 to 65535. As many are used
            towards a client, if it allows them.
        maximum_packet_size: The largest packet in bytes; ``None``: the standard's,
            256 MiB.
        maximum_packet_items: How many topic filters or properties of one kind a packet
            may have; one with more ends the connection with 0x97.
        server_keep_alive: The keep alive in seconds that replaces what a client of 5.0
            asks for; ``None``: the client's own counts.
        maximum_session_expiry: How many seconds a session may last without its
            client; ``None``: as long as the client asks, below 5.0 forever.
        maximum_memory: How many bytes the broker may keep for all clients together:
            sessions, subscriptions, wills, queued and retained messages with topics and
            properties, what waits to be decoded or written, and the objects that hold
            it, by their usual size. It is an estimate: the process takes as much
            besides as it takes without clients. When 7/8 are used, what would be kept
            is refused with 0x97 (a session, a will, a subscription, a message with QoS
            1 or 2), dropped and counted where nobody can be told (below 5.0, with QoS
            0), or ends the connection with 0x97 (a large packet that has come in part).
            The rest is for new connections, by which clients take what waits for them;
            when it is used up they are refused.
        maximum_queued_messages: How many messages with QoS 1 and 2 may wait for one
            session's client, connected or not. Further ones are dropped and counted.
        maximum_queued_bytes: The same in bytes. As many may wait to be written to one
            connection; then messages with QoS 0 to it are dropped and counted.
        maximum_retained_messages: How many messages may be retained.
        maximum_retained_bytes: The same in bytes, with topics, properties and the
            objects that hold them.
        maximum_subscriptions: How many subscriptions one session may have.
        maximum_sessions: How many sessions there may be, connected or not.
        maximum_connections: How many connections there may be.
        maximum_topic_levels: How many levels a topic may have.
        connect_timeout: How many seconds a new connection may take until its CONNECT
            has come, from when it was accepted and with a TLS handshake; more than 0.
        packet_timeout: How many seconds a packet may take from its first byte to its
            last; more than 0.

    Raises:
        ValueError: A value is out of its range; it is named.
    """

    maximum_qos: int = 2
    retain_available: bool = True
    wildcard_subscriptions: bool = True
    subscription_identifiers: bool = True
    shared_subscriptions: bool = True
    receive_maximum: int = 1000
    topic_alias_maximum: int = 100
    maximum_packet_size: int | None = 16 * MEBIBYTE
    maximum_packet_items: int = 1000
    server_keep_alive: int | None = None
    maximum_session_expiry: int | None = None
    maximum_memory: int = 1024 * MEBIBYTE
    maximum_queued_messages: int = 10_000
    maximum_queued_bytes: int = 64 * MEBIBYTE
    maximum_retained_messages: int = 100_000
    maximum_retained_bytes: int = 256 * MEBIBYTE
    maximum_subscriptions: int = 100_000
    maximum_sessions: int = 100_000
    maximum_connections: int = 20_000
    maximum_topic_levels: int = 128
    connect_timeout: float = 10.0
    packet_timeout: float = 60.0

    def __post_init__(self) -> None:
        """Check the values."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name in _OPTIONAL:
                continue
            if not isinstance(value, int | float):
                msg = f"{field.name} must be a number, not {type(value).__name__}"
                raise TypeError(msg)
            low, high = _RANGES.get(field.name, (1, None))
            if field.name in _TIMES:
                if not value > 0:
                    msg = f"{field.name} must be more than 0 seconds, not {value}"
                    raise ValueError(msg)
            elif value < low or (high is not None and value > high):
                allowed = f"at least {low}" if high is None else f"{low} to {high}"
                msg = f"{field.name} must be {allowed}, not {value}"
                raise ValueError(msg)


_OPTIONAL: Final = {
    "maximum_packet_size",
    "server_keep_alive",
    "maximum_session_expiry",
}
_RANGES: Final[dict[str, tuple[float, int | None]]] = {
    "maximum_qos": (0, 2),
    "retain_available": (0, 1),
    "wildcard_subscriptions": (0, 1),
    "subscription_identifiers": (0, 1),
    "shared_subscriptions": (0, 1),
    "receive_maximum": (1, 0xFFFF),
    "topic_alias_maximum": (0, 0xFFFF),
    "maximum_packet_size": (1, 0xFFFF_FFFF),
    "server_keep_alive": (0, 0xFFFF),
    "maximum_session_expiry": (0, 0xFFFF_FFFF),
    "maximum_queued_messages": (0, None),
    "maximum_queued_bytes": (0, None),
    "maximum_retained_messages": (0, None),
    "maximum_retained_bytes": (0, None),
}
# In seconds, which need not be whole.
_TIMES: Final = {"connect_timeout", "packet_timeout"}
