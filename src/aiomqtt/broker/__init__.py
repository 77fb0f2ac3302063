"""A complete MQTT 3.1, 3.1.1 and 5.0 broker inside the process.

It is for tests, demos, development and small programs in a single process. It writes
nothing to disk.
"""

from .broker import Broker, Listener
from .hooks import Authentication, ClientInfo, Refusal
from .limits import Limits
from .statistics import Statistics

__all__ = [
    "Authentication",
    "Broker",
    "ClientInfo",
    "Limits",
    "Listener",
    "Refusal",
    "Statistics",
]
