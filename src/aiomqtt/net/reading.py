"""Reading from sockets."""

from functools import cache


@cache
def ease_reading() -> None:
    """Make reads cheaper, once for the process.

    asyncio takes 256 KiB of memory for each read. The malloc of glibc maps a block of
    that size and unmaps it again, which costs more than to read and decode a hundred
    small messages, until it has seen that the program frees larger ones.
    """
    bytes(1024 * 1024)
