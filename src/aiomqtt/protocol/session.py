"""What outlives a connection (MQTT 5.0 §4.1): the session state of one side."""

from .delivery import Delivery
from .inbound import Inbound
from .outbound import Outbound


class Session:
    """The session state of a client.

    Attributes:
        client_id: What the session is filed under; the broker may assign it.
        outbound: What was published and is not acknowledged.
        inbound: What was received and is not completed.
        exists: Whether there is a session to go on with.
        connected_before: Whether a connection has ever been accepted.
    """

    def __init__(self, client_id: str) -> None:
        """Start without a session."""
        self.client_id = client_id
        self.outbound: Outbound = Outbound()
        self.inbound: Inbound = Inbound()
        self.exists: bool = False
        self.connected_before = False

    def clear(self) -> list[Delivery]:
        """End the session; return the deliveries that end with it."""
        self.exists = False
        self.inbound.clear()
        return self.outbound.clear()
