"""The limits of a broker: its features, and the resources for its clients."""

from dataclasses import dataclass, fields
from typing import Final

from aiomqtt.argument_checks import check_number

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a broker. In 5.0 it announces the relevant ones to clients.

    Args:
        maximum_qos: The highest QoS for publishing and for subscriptions: 0, 1 or 2.
        retain_available: Whether messages can be retained.
        wildcard_subscriptions: Whether topic filters may have wildcards.
        subscription_identifiers: Whether subscriptions may have identifiers.
        shared_subscriptions: Whether shared subscriptions are supported.
        receive_maximum: The maximum number of unacknowledged messages of QoS 1 and 2
            from a client, 1 to 65535. It does not apply below 5.0, where it can't be
            announced.
        topic_alias_maximum: The highest topic alias, 0 to 65535. The broker also uses
            up to this many aliases itself, if the client allows them.
        maximum_packet_size: The largest packet in bytes; ``None``: the standard's
            limit, 256 MiB.
        maximum_packet_items: The maximum number of topic filters, and of properties of
            one kind, in a packet; a packet with more ends the connection with 0x97.
        server_keep_alive: The keep alive in seconds that replaces the one that a client
            of 5.0 requests; ``None``: the client's own applies.
        maximum_session_expiry: The maximum time that a session lasts without its
            client, in seconds; ``None``: as long as the client requests, below 5.0
            forever.
        maximum_memory: The maximum memory that the broker uses for all clients
            together, in bytes: for sessions, subscriptions, wills, queued and retained
            messages with topics and properties, bytes that wait to be decoded or
            written, and an estimate for the objects. The process needs the memory of a
            broker without clients in addition. From 7/8 of the limit on, the broker
            refuses to keep more: it refuses a session, a will, a subscription or a
            message of QoS 1 or 2 with 0x97; it drops and counts messages that can't be
            refused (below 5.0, or of QoS 0); it ends a connection with an incomplete
            large packet with 0x97. The rest is for new connections, so that clients can
            fetch their messages; once it is used up, connections are refused.
        maximum_queued_messages: The maximum number of messages of QoS 1 and 2 that wait
            for the client of a session, connected or not. Further ones are dropped and
            counted.
        maximum_queued_bytes: The same in bytes. It is also the maximum that waits to be
            written to one connection; above it, messages of QoS 0 are dropped and
            counted.
        maximum_retained_messages: The maximum number of retained messages.
        maximum_retained_bytes: The same in bytes, with topics, properties and the
            objects that hold them.
        maximum_subscriptions: The maximum number of subscriptions of a session.
        maximum_sessions: The maximum number of sessions, connected or not.
        maximum_connections: The maximum number of connections.
        maximum_topic_levels: The maximum number of levels of a topic.
        connect_timeout: The time in seconds from accepting a connection to the end of
            its CONNECT, including the TLS handshake; more than 0.
        packet_timeout: The time in seconds from the first byte of a packet to its last;
            more than 0.

    Raises:
        ValueError: A value is out of range; the message names it.
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
            if not isinstance(value, bool):
                check_number(field.name, value)
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
