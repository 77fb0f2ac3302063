"""One direction of a connection in memory."""

from collections import deque
from collections.abc import Callable
from typing import Final

# Chunks from this size on are passed on as they are, not joined to their neighbours.
LARGE: Final = 16 * 1024


def no_op() -> None:
    """Do nothing: an end is not connected yet, or not any more."""


class Pipe:
    """One direction of a connection: the bytes that were written and not read yet."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.size: int = 0
        # Called when the pipe has changed; the ends look at it in a later turn.
        self.wake_reader: Callable[[], None] = no_op
        self.wake_writer: Callable[[], None] = no_op
        # Whether the writer has written the end of the file; whether it is lost.
        self.has_eof: bool = False
        self.writer_lost: bool = False
        # Whether the reader has closed and reads no more; whether it is lost.
        self.reader_closed: bool = False
        self.reader_lost: bool = False
        # Whether data was written that the reader will never read.
        self.data_lost: bool = False

    def read(self, size: int) -> bytes:
        """Remove and return a large chunk, or several small ones joined.

        Args:
            size: The maximum in bytes; a single chunk may exceed it.
        """
        chunks = self.chunks
        data = chunks.popleft()
        length = len(data)
        if length < LARGE and chunks and len(chunks[0]) < LARGE:
            pieces = [data]
            while length < size and chunks and len(chunks[0]) < LARGE:
                pieces.append(chunks.popleft())
                length += len(pieces[-1])
            data = b"".join(pieces)
        self.size -= length
        return data

    def drop(self) -> None:
        """Discard everything."""
        self.chunks.clear()
        self.size = 0

    def stop_reading(self) -> None:
        """Close the reader: the data, and what is written from now on, is lost."""
        self.reader_closed = True
        if self.chunks:
            self.drop()
            self.data_lost = True
            self.wake_writer()
