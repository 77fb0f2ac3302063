"""One subscription of a session (MQTT 5.0 §3.8.3.1)."""

from typing import TYPE_CHECKING

from aiomqtt.properties import SubscribeOptions
from aiomqtt.protocol.changes import StoredSubscription

if TYPE_CHECKING:
    from .session import Session


class Subscription:
    """One subscription of a session."""

    __slots__ = (
        "identifier",
        "no_local",
        "qos",
        "retain_as_published",
        "session",
        "topic_filter",
    )

    def __init__(
        self,
        session: "Session",
        topic_filter: str,
        qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
    ) -> None:
        """Create a subscription; an identifier of 0 means none."""
        self.session: Session = session
        self.topic_filter: str = topic_filter
        self.qos: int = qos
        self.no_local: bool = no_local
        self.retain_as_published: bool = retain_as_published
        self.identifier: int = identifier

    def stored(self) -> StoredSubscription:
        """Convert it for a store."""
        options = SubscribeOptions(self.qos, self.no_local, self.retain_as_published)
        return StoredSubscription(options, self.identifier)
