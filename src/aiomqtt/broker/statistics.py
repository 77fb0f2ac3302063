"""What a broker counts; ``$SYS`` topics and `Broker.statistics` show it."""


class Statistics:
    """The counts of a broker since it was made.

    Attributes:
        connections: How many connections there are.
        clients_connected: How many clients are connected.
        clients_total: How many sessions there are, connected or not.
        messages_received: How many PUBLISH packets came.
        messages_sent: How many were given to a client, or its queue.
        messages_dropped: How many were not, as a queue was full or they too large.
        messages_expired: How many expired in a queue.
        bytes_received: How many bytes came.
        bytes_sent: How many bytes were written.
        subscriptions: How many subscriptions there are.
        retained_messages: How many messages are retained.
        uptime: For how many seconds the broker has been running.
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
        """Start at zero."""
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
        """Return the ``$SYS`` topics with what they say; the names are mosquitto's."""
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
