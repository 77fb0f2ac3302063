"""Publishing without a connection: the value of `Client`'s argument `offline`."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from aiomqtt.argument_checks import check_finite, check_type

OfflineMode: TypeAlias = Literal["wait", "queue", "fail"]

MODES: Final = ("wait", "queue", "fail")
DEFAULT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class OfflineQueue:
    """Limits for the messages that wait while a client has no connection.

    Messages that were sent, and not acknowledged before the connection ended, count as
    well, since they wait to be sent again; they are never dropped.

    Args:
        max_messages: How many messages may wait; ``None``: any number.
        max_bytes: How many bytes of memory they may take, topics, properties and 512
            bytes for each message included; ``None``: any number.
        max_age: After how many seconds a message that has not been sent is dropped;
            ``None``: never. In 5.0 a message may have a Message Expiry Interval of its
            own, which counts down while it waits (MQTT 5.0 §3.3.2.3.3).
        qos0: What becomes of a message with QoS 0: "queue", as of every other; or
            "drop": it is dropped at once.
        overflow: What happens to a message for which there is no room: "fail": the call
            raises MqttCodeError; "drop_oldest": those that have waited longest without
            being sent are dropped for it.

    Raises:
        ValueError: An argument violates a rule; the message names both.
        TypeError: An argument has a wrong type; the message names it.
    """

    max_messages: int | None = 10_000
    max_bytes: int | None = DEFAULT_BYTES
    max_age: float | None = None
    qos0: Literal["queue", "drop"] = "queue"
    overflow: Literal["fail", "drop_oldest"] = "fail"

    def __post_init__(self) -> None:
        for name in ("max_messages", "max_bytes"):
            self._check_limit(name, getattr(self, name))
        if self.max_age is not None:
            check_finite("max_age", self.max_age, is_above=True)
        for name, allowed in (
            ("qos0", ("queue", "drop")),
            ("overflow", ("fail", "drop_oldest")),
        ):
            if getattr(self, name) not in allowed:
                first, second = allowed
                msg = f'{name} must be "{first}" or "{second}"'
                raise ValueError(f"{msg}, not {getattr(self, name)!r}")

    def _check_limit(self, name: str, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool):
            msg = f"{name} must be an int or None, not {type(value).__name__}"
            raise TypeError(msg)
        if value < 1:
            msg = (
                f"{name} must be 1 or more, not {value}: for a client that keeps"
                ' nothing without a connection, pass offline="fail"; None: no limit'
            )
            raise ValueError(msg)


def to_offline(value: object, reconnects: bool) -> tuple[OfflineMode, OfflineQueue]:
    """Return what `Client`'s argument `offline` means: a mode, and the limits.

    Args:
        value: The argument.
        reconnects: Whether the client reconnects.

    Raises:
        ValueError: It is no mode, or the client does not reconnect.
        TypeError: It has a wrong type.
    """
    if value is None:
        return "wait", OfflineQueue()
    if isinstance(value, OfflineQueue):
        mode, limits = to_mode("queue"), value
    else:
        check_type("offline", value, str, OfflineQueue, type(None))
        mode, limits = to_mode(value), OfflineQueue()
    if not reconnects:
        raise ValueError(NEEDS_RECONNECT)
    return mode, limits


NEEDS_RECONNECT: Final = (
    "offline needs a client that reconnects: pass reconnect=True as well; without it,"
    " publishing without a connection always fails"
)


def to_mode(value: object) -> OfflineMode:
    """Return a mode that the program passed.

    Raises:
        ValueError: It is none.
        TypeError: It is no string.
    """
    check_type("offline", value, str)
    for mode in ("wait", "queue", "fail"):
        if value == mode:
            return mode
    msg = f'offline must be "wait", "queue" or "fail", not {value!r}'
    raise ValueError(msg)
