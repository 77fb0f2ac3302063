"""SUBSCRIBE and UNSUBSCRIBE, from when they are written to their acknowledgement."""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.standard.names import PROTOCOL_ERROR, V5
from aiomqtt.standard.tables import PacketType, ProtocolVersion, Role

from .codec.encode import encode
from .outbound import Outbound
from .packets import Suback, Subscribe, Unsubscribe
from .wire import PacketError, encode_variable

CLIENT: Final = Role.CLIENT

# The bytes of a SUBACK besides its reason codes: the fixed header, the packet
# identifier, and the length of no properties.
SUBACK_SIZE: Final = 8
# A packet of several portions has at most this many filters, and at most about this
# many bytes: brokers have limits that they don't announce.
MOST_FILTERS: Final = 500
MOST_BYTES: Final = 64 * 1024

Item = TypeVar("Item")


class Request:
    """A SUBSCRIBE or UNSUBSCRIBE that waits for its acknowledgement.

    Attributes:
        answer: The type of its acknowledgement.
        packet_id: Its packet identifier on this connection; 0: it is not written yet.
        filters: The topic filters, in their order.
        packet: The encoded packet, with any packet identifier.
        options: The options of each, for a SUBSCRIBE.
        identifier: The Subscription Identifier; 0: none.
        is_answered: Whether the acknowledgement came before the connection ended.
        is_restoration: Whether it restores subscriptions that the broker has lost.
        is_abandoned: Whether no caller waits for it, so that it is not written again.
        was_written: Whether it was written, on this connection or an earlier one.
        reason_codes: The codes, one for each topic filter; empty until they come,
            and for an UNSUBSCRIBE below 5.0. Of a request that was kept for the next
            connection they may be those with which that forbids it.
        properties: The properties of the acknowledgement, or None.
        observer: An object of the caller, for use when the request is done.
    """

    __slots__ = (
        "answer",
        "filters",
        "identifier",
        "is_abandoned",
        "is_answered",
        "is_restoration",
        "observer",
        "options",
        "packet",
        "packet_id",
        "properties",
        "reason_codes",
        "was_written",
    )

    def __init__(self, answer: PacketType, filters: list[str], packet: bytes) -> None:
        self.answer: PacketType = answer
        self.packet_id: int = 0
        self.filters: list[str] = filters
        self.options: list[SubscribeOptions] = []
        self.identifier: int = 0
        self.packet: bytes = packet
        self.is_restoration: bool = False
        self.is_abandoned: bool = False
        self.was_written: bool = False
        self.is_answered: bool = False
        self.reason_codes: list[ReasonCode] = []
        self.properties: Properties | None = None
        self.observer: object = None


def to_subscribe(
    subscriptions: list[tuple[str, SubscribeOptions]],
    properties: Properties | None,
    version: ProtocolVersion,
) -> Request:
    """Return the request to subscribe to topic filters (§3.8).

    Raises:
        ValueError: An argument violates the standard.
    """
    packet = encode(Subscribe(1, subscriptions, properties), version, CLIENT)
    filters = [topic_filter for topic_filter, _ in subscriptions]
    request = Request(PacketType.SUBACK, filters, packet)
    request.options = [options for _, options in subscriptions]
    if properties is not None and properties.subscription_identifier:
        request.identifier = properties.subscription_identifier[0]
    return request


def to_unsubscribe(
    filters: list[str], properties: Properties | None, version: ProtocolVersion
) -> Request:
    """Return the request to unsubscribe from topic filters (§3.10).

    Raises:
        ValueError: An argument violates the standard.
    """
    packet = encode(Unsubscribe(1, filters, properties), version, CLIENT)
    return Request(PacketType.UNSUBACK, filters, packet)


def head_size(version: int, identifier: int) -> int:
    """Return the bytes of a SUBSCRIBE between its fixed header and its payload."""
    size = 2
    if version >= V5:
        size += 1
        if identifier:
            size += 1 + len(encode_variable(identifier))
    return size


def payload_size(topic_filter: str) -> int:
    """Return the bytes of a topic filter in a SUBSCRIBE, with length and options."""
    return 2 + len(topic_filter.encode()) + 1


def whole_size(remaining_length: int) -> int:
    """Return the bytes of a packet, with its fixed header."""
    return 1 + len(encode_variable(remaining_length)) + remaining_length


def most_in_suback(maximum_packet_size: int | None) -> int:
    """Return how many filters a SUBSCRIBE may have.

    Args:
        maximum_packet_size: The size in bytes that its SUBACK may have, as the client
            has announced; None: any.
    """
    if maximum_packet_size is None:
        return MOST_FILTERS
    return max(1, min(MOST_FILTERS, maximum_packet_size - SUBACK_SIZE))


def to_portions(
    items: Iterable[Item],
    to_name: Callable[[Item], str],
    head_size: int,
    most_bytes: int | None,
    most_filters: int,
) -> list[list[Item]]:
    """Divide topic filters among as few SUBSCRIBE or UNSUBSCRIBE packets as possible.

    What is larger than a packet may be has one of its own.

    Args:
        items: What to divide, in its order.
        to_name: Returns the topic filter of one.
        head_size: The bytes between the fixed header and the payload.
        most_bytes: The largest packet that the broker accepts; None: any.
        most_filters: The number of filters that a packet may have.
    """
    most_bytes = min(most_bytes or MOST_BYTES, MOST_BYTES)
    portions: list[list[Item]] = []
    length = 0
    for item in items:
        size = payload_size(to_name(item))
        if (
            not portions
            or len(portions[-1]) >= most_filters
            or whole_size(length + size) > most_bytes
        ):
            portions.append([])
            length = head_size
        portions[-1].append(item)
        length += size
    return portions


def _with_packet_id(packet: bytes, packet_id: int) -> bytes:
    """Return a SUBSCRIBE or UNSUBSCRIBE with another packet identifier."""
    # It follows the Remaining Length, each byte of which but the last has the high bit.
    start = 2
    while packet[start - 1] & 0x80:
        start += 1
    return packet[:start] + packet_id.to_bytes(2, "big") + packet[start + 2 :]


class Requests:
    """The unanswered requests of one connection."""

    def __init__(self) -> None:
        # Valid for the connection.
        self._requests: dict[int, Request] = {}

    def write(self, request: Request, outbound: Outbound, out: list[bytes]) -> bool:
        """Write a request with a packet identifier of its own, and wait for its answer.

        Returns:
            False: all packet identifiers are in use, and nothing has changed.
        """
        packet_id = outbound.assign_to_request()
        if not packet_id:
            return False
        request.packet_id = packet_id
        request.was_written = True
        self._requests[packet_id] = request
        out.append(_with_packet_id(request.packet, packet_id))
        return True

    def end(self) -> list[Request]:
        """Return the requests that won't be answered: the connection has ended."""
        requests = [*self._requests.values()]
        self._requests.clear()
        return requests

    def answer(
        self, packet: Suback, version: int, outbound: Outbound
    ) -> Request | None:
        """Return the request that a SUBACK or UNSUBACK answers; None: there is none.

        Its packet identifier is free again.

        Raises:
            PacketError: It does not fit the request with its packet identifier, or a
                PUBLISH has that.
        """
        request = self._requests.get(packet.packet_id)
        if request is None:
            if outbound.is_used(packet.packet_id):
                raise PacketError(
                    PROTOCOL_ERROR,
                    f"{packet.kind.name} for the identifier of a PUBLISH",
                )
            # No request has this identifier; the broker's fault and harmless: ignored.
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
        outbound.free_from_request(packet.packet_id)
        request.is_answered = True
        request.reason_codes = codes
        request.properties = packet.properties
        return request
