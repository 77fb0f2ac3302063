"""What waits until changes are stored: how much it is, and a driver's part of it."""

from collections.abc import Callable
from functools import partial
from typing import Final

from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.output import Arrived, Output

from .commits import CommitQueue

# While more bytes than this wait, nothing is read and publishers wait: a disk that is
# stuck must not fill the memory.
HELD_LIMIT: Final = 1024 * 1024


class HeldBytes:
    """Counts bytes that wait, and tells when there are too many.

    Attributes:
        size: The number of bytes.
        are_too_many: Whether they were more than HELD_LIMIT, and not yet less than half
            of it again.
    """

    def __init__(self) -> None:
        self.size: int = 0
        self.are_too_many: bool = False

    def add(self, size: int) -> bool:
        """Count bytes that begin to wait; return whether there are too many now."""
        self.size += size
        if self.are_too_many or self.size <= HELD_LIMIT:
            return False
        self.are_too_many = True
        return True

    def remove(self, size: int) -> bool:
        """Count bytes that no longer wait; return whether it goes on again now."""
        self.size -= size
        if not self.are_too_many or self.size > HELD_LIMIT // 2:
            return False
        self.are_too_many = False
        return True


class HeldOutputs:
    """The outputs of an engine that wait until their changes are stored.

    Args:
        commits: Stores the changes.
        release: Called in order with each output that may leave, and whether publishing
            and reading, which had to pause, may go on.

    Attributes:
        bytes: How many bytes wait, in both directions.
    """

    def __init__(
        self,
        commits: CommitQueue[Change],
        release: Callable[[Output, bool], None],
    ) -> None:
        # Valid for the connection.
        self._commits = commits
        self._release = release
        self.bytes: HeldBytes = HeldBytes()

    def holds(self, output: Output) -> bool:
        """Whether an output has to wait."""
        return self._commits.holds(output.changes)

    def add(self, output: Output) -> bool:
        """Let an output wait; return whether publishing and reading have to pause."""
        size = output.size
        have_become_too_many = self.bytes.add(size)
        # It may release it at once.
        self._commits.add(output.changes, partial(self._on_stored, output, size))
        return have_become_too_many and self.bytes.are_too_many

    def _on_stored(self, output: Output, size: int, is_stored: bool) -> None:
        """Release an output whose changes are stored.

        If they are not, nothing leaves that depends on them, and no message is
        delivered: the broker sends those with QoS 1 and 2 again.
        """
        goes_on = self.bytes.remove(size)
        if not is_stored:
            output.data = []
            output.happenings = [
                happening
                for happening in output.happenings
                if not isinstance(happening, Arrived)
            ]
        self._release(output, goes_on)
