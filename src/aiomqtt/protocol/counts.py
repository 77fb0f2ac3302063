"""The counts of a client, over all of its connections."""


class Counts:
    """What a client has counted since it was created.

    Whoever sees it happen counts it: the engine, the driver, or who waits for it.

    Attributes:
        connections: The connections that the broker has accepted.
        reconnections: Those of them that the client made by itself, after another one.
        connections_lost: Those of them that did not end because the program left.
        bytes_received: The bytes received.
        bytes_sent: The bytes passed to a transport.
        messages_received: The messages passed to the program's queue.
        messages_published: The messages that were accepted from the program.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "connections",
        "connections_lost",
        "messages_published",
        "messages_received",
        "reconnections",
    )

    def __init__(self) -> None:
        # All are valid as long as the client.
        self.connections: int = 0
        self.reconnections: int = 0
        self.connections_lost: int = 0
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.messages_received: int = 0
        self.messages_published: int = 0
