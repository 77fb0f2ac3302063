"""What is kept in memory of the rows of an open session."""

from typing import Any


class Index:
    """The values of the session, and where its deliveries are.

    It has entries for the deliveries in flight, not for those that wait.

    Attributes:
        generation: The number of times that the session was opened, with this one.
        client_id: The client identifier.
        is_existing: Whether there is a session to resume.
        connected_before: Whether a connection has ever been accepted.
        last_packet_id: The packet identifier that was assigned last.
        reserved_first: The first packet identifier that is reserved; 0: none is.
        reserved_last: The last one.
        last_sequence: The sequence of the last delivery.
        waiting: How many deliveries are QUEUED.
        waiting_size: The sum of the sizes of their topics and payloads, in bytes.
        in_flight: The other deliveries by sequence, with the id of the receipt or "".
        moved: The places of the deliveries whose place is not their sequence.
        blocked: The packet identifiers in the table `aiomqtt_blocked`.
        received: The packet identifiers in the table `aiomqtt_received`.
        flows: The packet identifiers in the table `aiomqtt_flows`.
        last_place: No delivery has a higher place.
        last_released: How many PUBRECs have been counted.
    """

    def __init__(self) -> None:
        self.generation: int = 0
        self.client_id: str = ""
        self.is_existing: bool = False
        self.connected_before: bool = False
        self.last_packet_id: int = 0
        self.reserved_first: int = 0
        self.reserved_last: int = 0
        self.last_sequence: int = 0
        self.waiting: int = 0
        self.waiting_size: int = 0
        self.in_flight: dict[int, str] = {}
        self.moved: dict[int, int] = {}
        self.blocked: set[int] = set()
        self.received: set[int] = set()
        self.flows: set[int] = set()
        self.last_place: int = 0
        self.last_released: int = 0

    def place(self, sequence: int) -> int:
        """Return the place of a delivery."""
        return self.moved.get(sequence, sequence) if self.moved else sequence

    def next_place(self, sequence: int) -> int:
        """Return the place of a new delivery, behind all others."""
        place = sequence if sequence > self.last_place else self.last_place + 1
        self.last_place = place
        return place

    def next_released(self) -> int:
        """Return the number of a PUBREC."""
        self.last_released += 1
        return self.last_released

    def clear(self) -> None:
        """There are no deliveries any more."""
        self.waiting = self.waiting_size = 0
        self.in_flight.clear()
        self.moved.clear()
        self.forget_packet_ids()

    def forget_packet_ids(self) -> None:
        """No packet identifier is in use any more."""
        self.last_packet_id = self.reserved_first = self.reserved_last = 0
        self.blocked.clear()

    def values(self) -> tuple[Any, ...]:
        """Return the values of the session as they are stored."""
        return (
            self.client_id,
            int(self.is_existing),
            int(self.connected_before),
            self.last_packet_id,
            self.reserved_first,
            self.reserved_last,
            self.last_sequence,
            self.waiting,
            self.waiting_size,
            len(self.in_flight),
        )
