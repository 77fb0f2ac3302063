"""The interface to whoever watches the connections of a client."""

from aiomqtt.exceptions import MqttError
from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.packets import Connack


class ConnectionWatcher:
    """Is told of the connections below the waiting calls; it must not raise."""

    def connected(self, connack: Connack) -> None:
        """The broker has accepted a connection; what was kept is written already."""

    def lost(self, error: MqttError | None) -> None:
        """An accepted connection has ended, and the calls wait for the next one.

        Args:
            error: The reason; None: this side has ended it.
        """

    def not_stored(self, error: MqttError) -> None:
        """The session could not be stored: there is no next connection.

        Args:
            error: Why.
        """

    def on_refused_filters(self, refused: list[tuple[str, ReasonCode]]) -> None:
        """Subscriptions that a broker had lost were not restored.

        Args:
            refused: The topic filters, and why the broker refused each.
        """
