"""The memory for reads."""

from functools import cache


@cache
def keep_large_blocks() -> None:
    """Make reads cheaper, once per process: make malloc keep large blocks.

    asyncio allocates 256 KiB for each read. The malloc of glibc maps and unmaps a block
    of that size each time, which costs more than reading and decoding a hundred small
    messages. After a larger block has been freed once, it keeps such blocks.
    """
    bytes(1024 * 1024)
