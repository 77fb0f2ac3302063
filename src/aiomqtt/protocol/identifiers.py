"""The packet identifiers of one direction: which are free, and which are in doubt.

A client with a store reserves identifiers in it before QoS 2 uses them. If a later
change is undone, as by a loss of power, those that were reserved are in doubt: the peer
may hold a message that nobody here knows, and would take another one with the same
identifier for its repetition (MQTT 5.0 §4.3.3).
"""

from typing import Final

from aiomqtt.standard.names import MAXIMUM_PACKET_ID
from aiomqtt.standard.tables import Role

from .changes import Change, ChangeKind
from .deliveries import Deliveries

# How many identifiers are reserved at a time, and how many may be in doubt.
RESERVED_AT_A_TIME: Final = 1024
MAXIMUM_IN_DOUBT: Final = 32_768


class PacketIds(Deliveries):
    """The deliveries of a session, and the packet identifiers that they may use.

    Args:
        role: The role of this side.
        changes: The list for the changes of the session; None: they are not recorded.
    """

    def __init__(self, role: Role, changes: list[Change] | None) -> None:
        super().__init__(changes)
        # Valid as long as this object: whether identifiers are reserved in the store.
        self._reserves: bool = changes is not None and role is Role.CLIENT
        # Valid for the connection: those that SUBSCRIBE and UNSUBSCRIBE have.
        self._of_requests: set[int] = set()

    def assign_to_request(self) -> int:
        """Take a free packet identifier for a SUBSCRIBE or UNSUBSCRIBE; 0: none."""
        packet_id = self._allocate()
        if packet_id:
            self._of_requests.add(packet_id)
            if self._changes is not None:
                self._changes.append(Change(ChangeKind.COUNTED, packet_id))
                if self._reserved_last:
                    self._reserve_block(packet_id, 0)
        return packet_id

    def free_from_request(self, packet_id: int) -> None:
        """Free an identifier that `assign_to_request` returned."""
        self._of_requests.discard(packet_id)

    def is_used(self, packet_id: int) -> bool:
        """Return whether a delivery in flight has this identifier."""
        return (
            packet_id in self._sent
            or packet_id in self._released
            or self._dropped.has(packet_id)
        )

    def _allocate(self) -> int:
        """Return the next free identifier after the last; 0: there is none."""
        packet_id = first = self._last_id % MAXIMUM_PACKET_ID + 1
        while (
            packet_id in self._sent
            or (self._released and packet_id in self._released)
            or (self._of_requests and packet_id in self._of_requests)
            or (len(self._dropped) and self._dropped.has(packet_id))
        ):
            packet_id = packet_id % MAXIMUM_PACKET_ID + 1
            if packet_id == first:
                return 0
        self._last_id = packet_id
        return packet_id

    # --- identifiers in doubt: see decision 0044 ----------------------------------

    def _reserve_block(self, packet_id: int, qos: int) -> None:
        """Reserve identifiers from one on that a packet has got, unless it is reserved.

        Those of QoS 1 need that only if they come between others.
        """
        last = self._reserved_last
        is_reserved = (last - packet_id) % MAXIMUM_PACKET_ID < RESERVED_AT_A_TIME
        if (last and is_reserved) or not self._reserves:
            return
        doubtful = self._dropped.doubtful
        if qos < 2 and not doubtful:
            self._set_reserved(0, 0)
            return
        last = (packet_id + RESERVED_AT_A_TIME - 2) % MAXIMUM_PACKET_ID + 1
        if (last - self._reserved_first) % MAXIMUM_PACKET_ID > MAXIMUM_IN_DOUBT:
            # Some have to be used, before there are no others.
            doubtful.clear()
        self._set_reserved(self._reserved_first if doubtful else packet_id, last)

    def _set_reserved(self, first: int, last: int) -> None:
        self._reserved_first, self._reserved_last = first, last
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.RESERVED, last, first))

    def doubt_reserved(self) -> None:
        """Use no identifier that was reserved until the peer has released it.

        Whoever reserved it may have used it, and the store may have lost that.
        """
        last = self._reserved_last
        if not last or not self._reserves:
            return
        first = self._reserved_first
        for number in range((last - first) % MAXIMUM_PACKET_ID + 1):
            packet_id = (first + number - 1) % MAXIMUM_PACKET_ID + 1
            if not self.is_used(packet_id):
                self._dropped.doubtful.add(packet_id)
        self._last_id = last
        if self._changes is not None:
            self._changes.append(Change(ChangeKind.COUNTED, last))

    def _settle_doubt(self) -> None:
        """Reserve only what is left, once no identifier is in doubt any more."""
        if self._dropped.doubtful:
            return
        next_id, last = self._last_id % MAXIMUM_PACKET_ID + 1, self._reserved_last
        is_used_up = self._last_id == last
        self._set_reserved(*((0, 0) if is_used_up else (next_id, last)))

    def free_reserved(self) -> None:
        """Reserve none of the identifiers that are not used: nobody will use them."""
        if self._reserved_last and not self._dropped.doubtful:
            self._set_reserved(0, 0)
