"""The counts of a broker, for its ``$SYS`` topics and `Broker.statistics`."""


class Statistics:
    """The counts of a broker since it was created.

    Attributes:
        connections: The current number of connections.
        clients_connected: The current number of connected clients.
        clients_total: The current number of sessions, connected or not.
        messages_received: The number of PUBLISH packets received.
        messages_sent: The number of messages passed to a client or its queue.
        messages_dropped: The number of messages dropped because a queue was full, or
            the message too large.
        messages_expired: The number of messages that expired in a queue.
        bytes_received: The number of bytes received.
        bytes_sent: The number of bytes written.
        subscriptions: The current number of subscriptions.
        retained_messages: The current number of retained messages.
        uptime: The time since the broker was started, in seconds.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "clients_connected",
        "clients_total",
        "connections",
        "messages_dropped",
        "messages_expired",
        "messages_received",
        "messages_sent",
        "retained_messages",
        "subscriptions",
        "uptime",
    )

    def __init__(self) -> None:
        self.connections: int = 0
        self.clients_connected: int = 0
        self.clients_total: int = 0
        self.messages_received: int = 0
        self.messages_sent: int = 0
        self.messages_dropped: int = 0
        self.messages_expired: int = 0
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.subscriptions: int = 0
        self.retained_messages: int = 0
        self.uptime: float = 0.0

    def topics(self) -> list[tuple[str, str]]:
        """Return the ``$SYS`` topics and their payloads; the names are mosquitto's."""
        return [
            ("$SYS/broker/uptime", f"{int(self.uptime)} seconds"),
            ("$SYS/broker/clients/connected", str(self.clients_connected)),
            ("$SYS/broker/clients/total", str(self.clients_total)),
            ("$SYS/broker/messages/received", str(self.messages_received)),
            ("$SYS/broker/messages/sent", str(self.messages_sent)),
            ("$SYS/broker/publish/messages/dropped", str(self.messages_dropped)),
            ("$SYS/broker/bytes/received", str(self.bytes_received)),
            ("$SYS/broker/bytes/sent", str(self.bytes_sent)),
            ("$SYS/broker/subscriptions/count", str(self.subscriptions)),
            ("$SYS/broker/retained messages/count", str(self.retained_messages)),
        ]
