"""What a client connects with."""

from typing import NamedTuple

from aiomqtt.properties import Properties
from aiomqtt.standard.tables import ProtocolVersion

from .packets import WillMessage


class Settings(NamedTuple):
    """What every CONNECT of a client says, and the bounds of its publishing."""

    version: ProtocolVersion
    client_id: str = ""
    # None: only until a connection was accepted; then the session goes on.
    clean_start: bool | None = None
    keep_alive: int = 60  # seconds
    username: str | None = None
    password: bytes | None = None
    will: WillMessage | None = None
    properties: Properties | None = None
    # None: what the broker's Receive Maximum allows, below 5.0 IN_FLIGHT_V3.
    maximum_in_flight: int | None = None
    # How many QoS 1 and 2 publishes may be unfinished; None: no limit.
    maximum_queued: int | None = None

    def __repr__(self) -> str:
        """Return all but the password."""
        shown = self._asdict()
        del shown["password"]
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in shown.items())})"
