"""The settings of a client's connections."""

from copy import copy
from typing import NamedTuple

from aiomqtt.properties import Properties
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import ProtocolVersion

from .packets import Connect, WillMessage


class Settings(NamedTuple):
    """The contents of every CONNECT of a client, and the bounds of its publishing."""

    version: ProtocolVersion
    client_id: str = ""
    # None: true until a connection has been accepted, then false.
    clean_start: bool | None = None
    keep_alive: int = 60  # seconds
    username: str | None = None
    password: bytes | None = None
    will: WillMessage | None = None
    properties: Properties | None = None
    # None: the broker's Receive Maximum, below 5.0 IN_FLIGHT_V3.
    maximum_in_flight: int | None = None
    # The maximum number of unfinished QoS 1 and 2 publishes; None: no limit.
    maximum_queued: int | None = None
    # Whether the caller answers the challenges of an authentication. The properties
    # have its method.
    has_authenticator: bool = False

    def to_connect(
        self,
        client_id: str,
        connected_before: bool,
        authentication_data: bytes | None = None,
    ) -> Connect:
        """Return the CONNECT of a client.

        Args:
            client_id: Its identifier, which the broker may have assigned.
            connected_before: Whether a connection of it was ever accepted.
            authentication_data: The data of the authenticator; None: there are none.
        """
        properties = self.properties
        if authentication_data is not None:
            properties = copy(properties or Properties())
            properties.authentication_data = authentication_data
        clean_start = self.clean_start
        if clean_start is None:
            # An empty identifier needs a clean session below 5.0 ([MQTT-3.1.3-7]).
            is_resumable = self.version >= V5 or bool(client_id)
            clean_start = not (connected_before and is_resumable)
        return Connect(
            self.version,
            client_id,
            clean_start,
            self.keep_alive,
            self.username,
            self.password,
            self.will,
            properties,
        )

    def __repr__(self) -> str:
        """Return all but the password."""
        shown = self._asdict()
        del shown["password"]
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in shown.items())})"
