"""An application message on its way through the broker (MQTT 5.0 §3.3)."""

from math import inf
from typing import Any, Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.fast import encode_publish
from aiomqtt.protocol.delivery import Delivery, remaining
from aiomqtt.standard.names import V5, V311
from aiomqtt.standard.tables import Role

from .memory_account import MESSAGE_SIZE, MemoryAccount, size_of_properties

SERVER: Final = Role.SERVER


class ApplicationMessage:
    """One message, encoded just once for all subscribers that receive the same bytes.

    Attributes:
        topic: The topic name.
        payload: The payload.
        qos: The QoS at which it was published.
        retain: The RETAIN flag with which it was published.
        properties: Its properties, without those of the publisher's connection; None:
            there are none.
        arrived: When it came, by the broker's clock.
        expires: When it expires; None: never.
        size: An estimate of its size in memory, in bytes.
        number: Its number among the retained messages; 0: it was not retained.
    """

    __slots__ = (
        "_encoded",
        "_keepers",
        "arrived",
        "expires",
        "number",
        "payload",
        "properties",
        "qos",
        "retain",
        "size",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        now: float,
    ) -> None:
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties
        self.arrived: float = now
        self.expires: float | None = None
        self.number: int = 0
        # The encoded packet contains the payload a second time.
        self.size: int = MESSAGE_SIZE + 2 * (len(topic) + len(payload))
        if properties is not None:
            self.size += size_of_properties(properties)
        # The number of references that count it.
        self._keepers = 0
        if properties is not None:
            interval = properties.message_expiry_interval
            if interval is not None:
                self.expires = now + interval
        # By QoS, RETAIN flag and version.
        self._encoded: dict[int, tuple[bytes, bytes]] = {}

    @property
    def flags(self) -> int:
        """QoS and RETAIN as in the first byte of the PUBLISH that it came with."""
        return self.qos << 1 | self.retain

    def is_expired(self, now: float) -> bool:
        """Return whether it has expired and must not be sent (§3.3.2.3.3).

        With an interval of 0 it still goes to clients that can receive it at once.
        """
        expires = self.expires
        return expires is not None and now >= expires and now != self.arrived

    def has_aged(self, now: float) -> bool:
        """Return whether its Message Expiry Interval has decreased since it came."""
        return self.expires is not None and now != self.arrived

    def extra(self) -> int:
        """Return the memory needed to keep it, in bytes: 0 if it is already kept."""
        return 0 if self._keepers else self.size

    def keep(self, memory: MemoryAccount) -> None:
        """Add a reference; count its memory with the first one."""
        if not self._keepers:
            memory.used += self.size
        self._keepers += 1

    def let_go(self, memory: MemoryAccount) -> None:
        """Remove a reference; stop counting its memory with the last one."""
        self._keepers -= 1
        if not self._keepers:
            memory.used -= self.size

    def parts(self, is_v5: bool, qos: int, retain: bool) -> tuple[bytes, bytes]:
        """Encode it unchanged in two parts; the packet identifier goes between them."""
        key = qos << 2 | (2 if retain else 0) | (1 if is_v5 else 0)
        found = self._encoded.get(key)
        if found is None:
            found = encode_publish(
                self.topic,
                self.payload,
                qos,
                retain,
                self.properties if is_v5 else None,
                V5 if is_v5 else V311,
                SERVER,
            )
            head, tail = found
            # Only the first byte differs: keep the payload just once.
            for _, other in self._encoded.values():
                if other == tail:
                    found = (head, other)
                    break
            self._encoded[key] = found
        return found

    def parts_of_own(
        self,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        now: float,
        alias: int = 0,
        is_known: bool = False,
    ) -> tuple[bytes, bytes]:
        """Encode it for one client of 5.0 alone.

        Args:
            qos: The QoS at which to send it.
            retain: The RETAIN flag with which to send it.
            identifiers: The identifiers of the matching subscriptions.
            now: The time, for the rest of the Message Expiry Interval
                ([MQTT-3.3.2-6]).
            alias: The topic alias; 0: none.
            is_known: Whether the client already knows the alias.
        """
        values: dict[str, Any] = {}
        if self.properties is not None:
            values.update(self.properties.present)
        if self.expires is not None:
            values["message_expiry_interval"] = remaining(
                values["message_expiry_interval"], self.expires, now
            )
        if identifiers:
            values["subscription_identifier"] = list(identifiers)
        if alias:
            values["topic_alias"] = alias
        return encode_publish(
            "" if is_known else self.topic,
            self.payload,
            qos,
            retain,
            Properties._decoded(values),  # noqa: SLF001
            V5,
            SERVER,
        )


class MessagePool:
    """Makes messages of what is stored: the same one if several sessions have it."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], ApplicationMessage] = {}

    def get(self, delivery: Delivery) -> ApplicationMessage:
        """Return the message of a delivery."""
        topic, payload = delivery.topic, delivery.payload
        qos, retain, expires = delivery.qos, delivery.retain, delivery.expires
        origin = delivery.origin
        if origin is not None and origin.published:
            # Another member of its shared subscription may get it with other ones.
            qos, retain = origin.published >> 1, origin.published & 1 == 1
        properties = delivery.properties
        key = (topic, payload, qos, retain, expires, _values_of(properties))
        message = self._found.get(key)
        if message is None:
            message = ApplicationMessage(topic, payload, qos, retain, properties, -inf)
            message.expires = expires
            self._found[key] = message
        return message


def _values_of(properties: Properties | None) -> tuple[object, ...]:
    """Return what properties have, as a part of a key."""
    if properties is None:
        return ()
    return tuple(
        (name, tuple(value) if isinstance(value, list) else value)
        for name, value in sorted(properties.present.items())
    )


def message_of(delivery: Delivery) -> ApplicationMessage:
    """Return the message of a delivery, encoded once for all its recipients."""
    message = delivery.observer
    assert isinstance(message, ApplicationMessage)
    return message


def for_others(properties: Properties | None) -> Properties | None:
    """Return the properties of a PUBLISH that are passed on (§3.3.2.3)."""
    if properties is None or not properties.present:
        return None
    if properties.topic_alias is None:
        return properties
    others = properties.without("topic_alias")
    return others if others.present else None
