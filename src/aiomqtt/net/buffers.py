"""The memory for reads."""

from functools import cache


@cache
def keep_large_blocks() -> None:
    """Make reads cheaper: have malloc keep large blocks; once for the process.

    asyncio allocates 256 KiB for each read. The malloc of glibc maps a block of that
    size and unmaps it again, which costs more than reading and decoding a hundred
    small messages. Freeing a larger block once makes it keep them.
    """
    bytes(1024 * 1024)
