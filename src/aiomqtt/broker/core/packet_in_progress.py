"""A packet whose handling takes several turns of the event loop."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import ClientConnection


class PacketInProgress:
    """A packet whose handling is not complete; later packets wait.

    Attributes:
        size: An estimate of its size in memory, in bytes.
    """

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size: int = size

    @property
    def can_go_on(self) -> bool:
        """Whether it can be continued in the next turn."""
        return True

    def go_on(self, connection: "ClientConnection") -> bool:
        """Handle the next portion; return whether it is complete.

        Raises:
            PacketError: The client violates the standard.
        """
        raise NotImplementedError
