"""A complete MQTT 3.1, 3.1.1 and 5.0 broker inside the process.

It is for tests, demos, development and small programs in a single process. With a
store, what it has outlives the process.
"""

from typing import TYPE_CHECKING

from .broker import Broker
from .hooks import Authentication, ClientInfo, Refusal
from .limits import Limits
from .listeners import Listener
from .statistics import Statistics

if TYPE_CHECKING:
    from .scram import ScramCredentials, ScramSha256Accounts

__all__ = [
    "Authentication",
    "Broker",
    "ClientInfo",
    "Limits",
    "Listener",
    "Refusal",
    "ScramCredentials",
    "ScramSha256Accounts",
    "Statistics",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Import a name that most programs don't need on its first use."""
        if name in ("ScramCredentials", "ScramSha256Accounts"):
            from . import scram

            return getattr(scram, name)
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
