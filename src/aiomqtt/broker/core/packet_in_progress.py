"""A packet whose handling takes several turns of the event loop."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import ClientConnection


class PacketInProgress:
    """A packet that is handled in part; those that came after it wait.

    Attributes:
        size: About how many bytes of memory it takes.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size: int = 0

    @property
    def can_go_on(self) -> bool:
        """Whether there is something to do for it in the next turn."""
        return True

    def go_on(self, connection: "ClientConnection") -> bool:
        """Handle as much as is due; return whether it is done.

        Raises:
            PacketError: The client breaks a rule.
        """
        raise NotImplementedError
