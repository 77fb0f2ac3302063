"""Writing many pieces to a transport."""

import asyncio
from typing import Final

# From this size on, copying a payload costs more than a second system call.
LARGE: Final = 16 * 1024
# More bytes leave in parts of this size: see `large_writes`.
LARGEST_WRITE: Final = 256 * 1024
# For a transport that takes any number of bytes: more than any list of pieces has.
NO_LIMIT: Final = 1 << 62


def write_pieces(
    transport: asyncio.Transport, pieces: list[bytes], maximum: int
) -> int:
    """Write one or more pieces in the cheapest way; return their total size.

    Nothing is written, and 0 returned, if the total is larger than `maximum`.
    """
    if len(pieces) == 1:
        data = pieces[0]
        if len(data) > maximum:
            return 0
        transport.write(data)
        return len(data)
    if len(pieces[-1]) >= LARGE:
        size = 0
        for piece in pieces:
            size += len(piece)
        if size > maximum:
            return 0
        # If the transport can, it writes them without joining them.
        transport.writelines(pieces)
        # Before 3.12.9 and 3.13.2, asyncio checks the buffer's limits when they are
        # set, but not in `writelines` (CVE-2024-12254).
        transport.set_write_buffer_limits()
        return size
    data = b"".join(pieces)
    if len(data) > maximum:
        return 0
    transport.write(data)
    return len(data)
