"""One direction of a connection in memory."""

from collections import deque
from collections.abc import Callable
from typing import Final

# From this size on a chunk is passed as it is, instead of joined to its neighbours.
LARGE: Final = 16 * 1024


def nobody() -> None:
    """Wake nobody: there is no end, yet or any more."""


class Pipe:
    """One direction of a connection: what was written and not yet taken."""

    def __init__(self) -> None:
        """Be empty; each end sets what wakes it."""
        self.chunks: deque[bytes] = deque()
        self.size: int = 0
        # Have a look at the pipe in a later turn of the loop.
        self.wake_reader: Callable[[], None] = nobody
        self.wake_writer: Callable[[], None] = nobody
        # Whether the writer has said that there is no more, and whether it is closed.
        self.has_end = False
        self.is_writer_gone = False
        # Whether the reader takes no more, and whether it is closed.
        self.is_deaf: bool = False
        self.is_reader_gone = False
        # Whether something was written that nobody took.
        self.has_lost: bool = False

    def take(self, most: int) -> bytes:
        """Take a large chunk, or several small ones joined.

        Args:
            most: How many bytes; one chunk may exceed it.
        """
        chunks = self.chunks
        data = chunks.popleft()
        size = len(data)
        if size < LARGE and chunks and len(chunks[0]) < LARGE:
            pieces = [data]
            while size < most and chunks and len(chunks[0]) < LARGE:
                pieces.append(chunks.popleft())
                size += len(pieces[-1])
            data = b"".join(pieces)
        self.size -= size
        return data

    def drop(self) -> None:
        """Empty it."""
        self.chunks.clear()
        self.size = 0

    def stop_reading(self) -> None:
        """Take no more: what is in it is lost, as is what comes."""
        self.is_deaf = True
        if self.chunks:
            self.drop()
            self.has_lost = True
            self.wake_writer()
