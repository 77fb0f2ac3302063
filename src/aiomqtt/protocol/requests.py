"""SUBSCRIBE and UNSUBSCRIBE, from when they are written to their acknowledgement."""

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.standard.names import PROTOCOL_ERROR, V5
from aiomqtt.standard.tables import PacketType

from .packets import Suback
from .wire import PacketError


class Request:
    """A SUBSCRIBE or UNSUBSCRIBE that waits for its acknowledgement.

    Attributes:
        filters: The topic filters, in their order.
        options: The options of each, for a SUBSCRIBE.
        identifier: The Subscription Identifier; 0: none.
        is_answered: Whether the acknowledgement came before the connection ended.
        reason_codes: The codes, one for each topic filter; empty until they come,
            and for an UNSUBSCRIBE below 5.0.
        properties: The properties of the acknowledgement, or None.
        observer: An object of the caller, for use when the request is done.
    """

    __slots__ = (
        "answer",
        "filters",
        "identifier",
        "is_answered",
        "observer",
        "options",
        "packet_id",
        "properties",
        "reason_codes",
    )

    def __init__(self, answer: PacketType, packet_id: int, filters: list[str]) -> None:
        self.answer: PacketType = answer
        self.packet_id: int = packet_id
        self.filters: list[str] = filters
        self.options: list[SubscribeOptions] = []
        self.identifier: int = 0
        self.is_answered: bool = False
        self.reason_codes: list[ReasonCode] = []
        self.properties: Properties | None = None
        self.observer: object = None


class Requests:
    """The unanswered requests of one connection."""

    def __init__(self) -> None:
        # Valid for the connection.
        self._requests: dict[int, Request] = {}

    def add(self, request: Request) -> None:
        """Wait for the answer to a request."""
        self._requests[request.packet_id] = request

    def end(self) -> list[Request]:
        """Return the requests that won't be answered: the connection has ended."""
        requests = [*self._requests.values()]
        self._requests.clear()
        return requests

    def answer(self, packet: Suback, version: int) -> Request | None:
        """Return the request that a SUBACK or UNSUBACK answers; None: there is none.

        Raises:
            PacketError: It does not fit the request with its packet identifier.
        """
        request = self._requests.get(packet.packet_id)
        if request is None:
            return None
        if request.answer is not packet.kind:
            raise PacketError(
                PROTOCOL_ERROR, f"{packet.kind.name} for another kind of request"
            )
        codes, count = packet.reason_codes, len(request.filters)
        if codes and packet.kind is PacketType.UNSUBACK:
            # rumqttd sends an UNSUBACK with one code for each topic filter: the first
            # is the answer, and its code counts for the rest (decision 0008).
            codes = codes + codes[-1:] * (count - len(codes))
        counted = packet.kind is PacketType.SUBACK or version >= V5
        if counted and len(codes) != count:
            raise PacketError(
                PROTOCOL_ERROR,
                f"{packet.kind.name} has {len(codes)} reason codes for"
                f" {count} topic filters",
            )
        del self._requests[packet.packet_id]
        request.is_answered = True
        request.reason_codes = codes
        request.properties = packet.properties
        return request
