"""One turn of the event loop: its time, and how much may be done in it for one client.

Work is counted in messages that are sent. What is too much for one turn goes on in
another, so that no client stops the others.
"""

from typing import Final

# The work that is done for one client in one turn.
WORK_PER_TURN: Final = 10_000
# A message to up to this part of so many is not divided, even if it exceeds the turn.
UNDIVIDED_PART: Final = 10
# Adding or removing a topic filter costs this much, and 1 for each of its levels.
FILTER_COST: Final = 10
# The seconds after which work that is too much for one turn goes on.
PORTION_INTERVAL: Final = 0.001
# Looking at this many nodes of a tree costs as much as sending one message.
NODES_PER_UNIT: Final = 4


class Turn:
    """The call that is being handled.

    Args:
        now: Its time, in seconds of the broker's clock.
        limit: The work after which the rest has to wait for another turn.

    Attributes:
        work: The work that has been done in it.
        limit_undivided: The work up to which a message is sent to all of its
            subscribers in it.
    """

    __slots__ = ("limit", "limit_undivided", "now", "work")

    def __init__(self, now: float, limit: int = WORK_PER_TURN) -> None:
        self.now: float = now
        self.work: int = 0
        self.limit: int = limit
        self.limit_undivided: int = limit + limit // UNDIVIDED_PART

    def begin(self, now: float) -> None:
        """Begin with a call: nothing has been done yet."""
        self.now = now
        self.work = 0

    @property
    def is_over(self) -> bool:
        """Whether the rest has to wait for another turn."""
        return self.work >= self.limit
