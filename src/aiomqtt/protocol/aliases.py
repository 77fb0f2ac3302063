"""Topic aliases (§3.3.2.3.4): they end with the connection."""

from aiomqtt.message import NO_PROPERTIES
from aiomqtt.standard.names import PROTOCOL_ERROR, TOPIC_ALIAS_INVALID
from aiomqtt.topic import Topic

from .packets import Publish
from .wire import PacketError


class InboundAliases:
    """The topic aliases that the peer has set (§3.3.2.3.4)."""

    def __init__(self, maximum: int) -> None:
        """Accept aliases up to the Topic Alias Maximum that was sent to the peer."""
        self._maximum = maximum
        self._topics: dict[int, Topic] = {}
        # The total number of characters in the topics.
        self.size: int = 0

    def resolve(self, packet: Publish) -> None:
        """Set an alias, or give a PUBLISH the topic that its alias stands for.

        Raises:
            PacketError: The alias exceeds the maximum (0x94) or was never set.
        """
        properties = packet.carried
        if properties is None or properties is NO_PROPERTIES:
            return
        alias = properties.topic_alias
        if alias is None:
            return
        if alias > self._maximum:
            raise PacketError(
                TOPIC_ALIAS_INVALID, f"topic alias {alias} exceeds {self._maximum}"
            )
        if packet.topic.value:
            last = self._topics.get(alias)
            if last is not None:
                self.size -= len(last.value)
            self.size += len(packet.topic.value)
            self._topics[alias] = packet.topic
        elif alias in self._topics:
            packet.topic = self._topics[alias]
        else:
            raise PacketError(PROTOCOL_ERROR, f"topic alias {alias} was never set")


class OutboundAliases:
    """The topic aliases that the program uses when it publishes."""

    def __init__(self, maximum: int) -> None:
        """Allow aliases up to the peer's Topic Alias Maximum."""
        self._maximum = maximum
        # The topics that the program has set, and those already sent to the peer.
        self._set: dict[int, str] = {}
        self._told: dict[int, str] = {}

    def resolve(self, topic: str, alias: int) -> str:
        """Return the full topic of a publish that has an alias.

        Raises:
            ValueError: The alias exceeds the peer's maximum, or it has no topic.
        """
        if alias > self._maximum:
            msg = (
                f"topic_alias must not exceed the broker's Topic Alias Maximum,"
                f" {self._maximum}, not {alias} ([MQTT-3.2.2-17])"
            )
            raise ValueError(msg)
        if not topic:
            if alias not in self._set:
                msg = f"topic_alias {alias} has no topic yet: publish with both first"
                raise ValueError(msg)
            return self._set[alias]
        return topic

    def set(self, alias: int, topic: str) -> None:
        """Record the topic of an alias: a publish with both was accepted."""
        self._set[alias] = topic

    def apply(self, topic: str, alias: int) -> str:
        """Return the topic to write: empty if the peer already knows the alias."""
        if self._told.get(alias) == topic:
            return ""
        self._told[alias] = topic
        return topic
