"""Writing many pieces to a transport."""

import asyncio
from typing import Final

# From this size on, copying a payload costs more than a second system call.
LARGE: Final = 16 * 1024


def write_pieces(transport: asyncio.Transport, pieces: list[bytes]) -> int:
    """Write one or more pieces in the cheapest way; return their total size."""
    if len(pieces) == 1:
        data = pieces[0]
        transport.write(data)
        return len(data)
    if len(pieces[-1]) >= LARGE:
        # If the transport can, it writes them without joining them.
        transport.writelines(pieces)
        # Before 3.12.9 and 3.13.2, asyncio checks the buffer's limits when they are
        # set, but not in `writelines` (CVE-2024-12254).
        transport.set_write_buffer_limits()
        size = 0
        for piece in pieces:
            size += len(piece)
        return size
    data = b"".join(pieces)
    transport.write(data)
    return len(data)
