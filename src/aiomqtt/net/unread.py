"""Acknowledgements that the broker does not read."""

from typing import Final

from aiomqtt.standard.names import (
    PUBACK_FIRST_BYTE,
    PUBCOMP_FIRST_BYTE,
    PUBREC_FIRST_BYTE,
    RECEIVE_MAXIMUM_EXCEEDED,
)

# A broker has no more messages unacknowledged than there are packet identifiers, so
# none that reads leaves more acknowledgements than that.
MAXIMUM_UNREAD: Final = 65_535
# How to end the connection then: Receive Maximum exceeded.
ACKS_UNREAD: Final = (
    RECEIVE_MAXIMUM_EXCEEDED,
    f"the broker reads none of {MAXIMUM_UNREAD} acknowledgements",
)
# The first bytes of PUBACK, PUBREC and PUBCOMP, and their size with a reason code.
_ACKS: Final = bytes((PUBACK_FIRST_BYTE, PUBREC_FIRST_BYTE, PUBCOMP_FIRST_BYTE))
_ACK_SIZE: Final = 5


class UnreadAcks:
    """Counts acknowledgements while the transport's buffer is above its mark."""

    def __init__(self) -> None:
        """Begin with none."""
        # How many were written since as many bytes had been written as the mark says.
        self._count = 0
        self._mark = 0

    def are_too_many(self, pieces: list[bytes], written: int, left: int) -> bool:
        """Count those among the pieces; say whether the broker reads none of them.

        Args:
            pieces: What was written last.
            written: How many bytes were written on the connection, with the pieces.
            left: How many of these have left the transport.
        """
        for piece in pieces:
            if len(piece) <= _ACK_SIZE and piece[0] in _ACKS:
                self._count += 1
        if self._count <= MAXIMUM_UNREAD:
            return False
        if left < self._mark:
            return True
        self._count = 0
        self._mark = written
        return False
