"""An application message on its way through the broker (MQTT 5.0 §3.3)."""

from math import ceil
from typing import Any, Final

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.fast import encode_publish
from aiomqtt.standard.names import V5, V311
from aiomqtt.standard.tables import Role

from .memory_account import MESSAGE_SIZE, MemoryAccount, size_of_properties

SERVER: Final = Role.SERVER


class ApplicationMessage:
    """One message, encoded just once for all who get it alike.

    Attributes:
        topic: The topic name.
        payload: The payload.
        qos: The QoS that it was published with.
        retain: The RETAIN flag that it was published with.
        properties: Its properties, without those of the publisher's connection; None:
            there are none.
        arrived: When it came, by the broker's clock.
        expires: When it expires; None: never.
        size: About how many bytes it takes.
        number: The number that it was retained by; 0: it was not.
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
        """Take fields that have been checked."""
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties
        self.arrived: float = now
        self.expires: float | None = None
        self.number: int = 0
        # The payload stands in what is encoded once more.
        self.size: int = MESSAGE_SIZE + 2 * (len(topic) + len(payload))
        if properties is not None:
            self.size += size_of_properties(properties)
        # How many keep it.
        self._keepers = 0
        if properties is not None:
            interval = properties.message_expiry_interval
            if interval is not None:
                self.expires = now + interval
        # By QoS, RETAIN flag and version.
        self._encoded: dict[int, tuple[bytes, bytes]] = {}

    def is_expired(self, now: float) -> bool:
        """Whether it is not to be sent any more (§3.3.2.3.3).

        With an interval of 0 it still goes to who can have it at once.
        """
        expires = self.expires
        return expires is not None and now >= expires and now != self.arrived

    def has_aged(self, now: float) -> bool:
        """Whether its Message Expiry Interval is no longer what it came with."""
        return self.expires is not None and now != self.arrived

    def extra(self) -> int:
        """Return how many bytes it takes to keep it: none if it is kept already."""
        return 0 if self._keepers else self.size

    def keep(self, memory: MemoryAccount) -> None:
        """Count it, as something refers to it from now on."""
        if not self._keepers:
            memory.used += self.size
        self._keepers += 1

    def let_go(self, memory: MemoryAccount) -> None:
        """Count it no more, when nothing else refers to it."""
        self._keepers -= 1
        if not self._keepers:
            memory.used -= self.size

    def parts(self, is_v5: bool, qos: int, retain: bool) -> tuple[bytes, bytes]:
        """Encode it as it came in, in two parts; the packet identifier goes between."""
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
            # What differs is the first byte: the payload is kept just once.
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
            qos: The QoS to send it with.
            retain: The RETAIN flag to send it with.
            identifiers: The identifiers of the subscriptions that matched.
            now: The time: what is left of the Message Expiry Interval is sent on
                ([MQTT-3.3.2-6]).
            alias: The topic alias; 0: none.
            is_known: Whether the client knows what the alias stands for.
        """
        values: dict[str, Any] = {}
        if self.properties is not None:
            values.update(self.properties.present)
        if self.expires is not None:
            # Rounded up, it must not become more than it was.
            left = ceil(self.expires - now)
            interval = values["message_expiry_interval"]
            values["message_expiry_interval"] = max(0, min(left, interval))
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


def for_others(properties: Properties | None) -> Properties | None:
    """Return the properties of a PUBLISH that are passed on (§3.3.2.3)."""
    if properties is None or not properties.present:
        return None
    if properties.topic_alias is None:
        return properties
    others = properties.without("topic_alias")
    return others if others.present else None
