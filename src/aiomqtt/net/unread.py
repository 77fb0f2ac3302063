"""Detects a broker that does not read our acknowledgements."""

from typing import Final

from aiomqtt.standard.names import (
    PUBACK_FIRST_BYTE,
    PUBCOMP_FIRST_BYTE,
    PUBREC_FIRST_BYTE,
    RECEIVE_MAXIMUM_EXCEEDED,
)

# A broker can't have more unacknowledged messages than there are packet identifiers,
# so if it reads, it never leaves more acknowledgements unread.
MAXIMUM_UNREAD: Final = 65_535
# The reason for ending the connection then: Receive Maximum exceeded.
ACKS_UNREAD: Final = (
    RECEIVE_MAXIMUM_EXCEEDED,
    f"the broker reads none of {MAXIMUM_UNREAD} acknowledgements",
)
# The first bytes of PUBACK, PUBREC and PUBCOMP, and their size with a reason code.
_ACKS: Final = bytes((PUBACK_FIRST_BYTE, PUBREC_FIRST_BYTE, PUBCOMP_FIRST_BYTE))
_ACK_SIZE: Final = 5


class UnreadAcks:
    """Counts acknowledgements while the transport's buffer is above its limit."""

    def __init__(self) -> None:
        # The acknowledgements written since the number of written bytes was `_mark`.
        self._count = 0
        self._mark = 0

    def are_too_many(self, pieces: list[bytes], written: int, left: int) -> bool:
        """Count acknowledgements; return whether the broker has stopped reading them.

        Args:
            pieces: The bytes that were written last.
            written: The bytes written on the connection, including the pieces.
            left: How many of these bytes have left the transport.
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
