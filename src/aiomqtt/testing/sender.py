"""The two sides of a connection through the fault proxy."""

from enum import Enum
from typing import Final


class Sender(Enum):
    """The two sides of a connection."""

    CLIENT = "client"
    BROKER = "broker"


CLIENT: Final = Sender.CLIENT
BROKER: Final = Sender.BROKER
