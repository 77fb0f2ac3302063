"""Hypothesis strategies: every packet that the standard allows.

Each is made once: to make one takes longer than to draw from it.
"""

from functools import cache
from typing import Any

from hypothesis import strategies as st

from aiomqtt.properties import Properties, ReasonCode, SubscribeOptions
from aiomqtt.protocol.packets import (
    NO_TOPIC,
    Ack,
    Connack,
    Connect,
    Packet,
    Ping,
    Publish,
    Signal,
    Suback,
    Subscribe,
    Unsubscribe,
    WillMessage,
)
from aiomqtt.standard.tables import (
    PROPERTIES,
    DataType,
    PacketType,
    PropertyRow,
    ProtocolVersion,
    Role,
    reason_codes,
    senders,
)
from aiomqtt.topic import Topic

Strategy = st.SearchStrategy[Any]

# Every connection: its version and who speaks.
connections = st.tuples(st.sampled_from(ProtocolVersion), st.sampled_from(Role))

packet_ids = st.integers(1, 0xFFFF)
qos_levels = st.integers(0, 2)
payloads = st.binary(max_size=200)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
)
topics = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"),
    min_size=1,
    max_size=20,
)
_levels = st.text("ab$é", max_size=3) | st.just("+")
filters = (
    st.lists(_levels, min_size=1, max_size=4)
    .flatmap(
        lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"])])
    )
    .filter(bool)
)
shared_filters = st.builds("$share/{}/{}".format, st.text("ab", min_size=1), filters)


def value(row: PropertyRow) -> Strategy:
    """One value of a property."""
    if row.is_topic:
        return topics
    if row.type is DataType.UTF8_STRING:
        return texts
    if row.type is DataType.UTF8_STRING_PAIR:
        return st.tuples(texts, texts)
    if row.type is DataType.BINARY_DATA:
        return st.binary(max_size=20)
    return st.integers(row.minimum, row.largest)


@cache
def property_sets(
    packet: PacketType, version: int, sender: Role
) -> st.SearchStrategy[Properties | None]:
    """Properties that a sender may put into a packet; None below 5.0."""
    if version < ProtocolVersion.V5:
        return st.none()
    values = {}
    for row in PROPERTIES:
        if sender in row.packets.get(packet, ()):
            values[row.name] = value(row)
            if packet in row.repeats:
                values[row.name] = st.lists(value(row), min_size=1, max_size=3)
            elif row.repeats:
                values[row.name] = st.lists(value(row), min_size=1, max_size=1)

    def complete(chosen: dict[str, Any]) -> Properties:
        if "authentication_data" in chosen:
            chosen.setdefault("authentication_method", "SCRAM-SHA-1")
        return Properties(**chosen)

    return st.none() | st.fixed_dictionaries({}, optional=values).map(complete)


@cache
def codes(packet: PacketType, version: int, sender: Role) -> Strategy:
    named = reason_codes(packet, version, sender)
    return st.sampled_from([ReasonCode(code, name) for code, name in named.items()])


@cache
@st.composite
def connects(draw: st.DrawFn, version: ProtocolVersion, sender: Role) -> Connect:
    username = draw(st.none() | texts)
    may_have_password = username is not None or version >= ProtocolVersion.V5
    client_id = draw(texts)
    may_resume = bool(client_id) or version >= ProtocolVersion.V5
    will = None
    if draw(st.booleans()):
        will = WillMessage(
            draw(topics),
            draw(payloads),
            draw(qos_levels),
            draw(st.booleans()),
            draw(property_sets(PacketType.WILL, version, sender)),
        )
    return Connect(
        version,
        client_id,
        draw(st.booleans()) if may_resume else True,
        draw(st.integers(0, 0xFFFF)),
        username,
        draw(st.none() | st.binary(max_size=20)) if may_have_password else None,
        will,
        draw(property_sets(PacketType.CONNECT, version, sender)),
    )


@cache
@st.composite
def connacks(draw: st.DrawFn, version: ProtocolVersion, sender: Role) -> Connack:
    code = draw(codes(PacketType.CONNACK, version, sender))
    may_be_present = not code and version > ProtocolVersion.V31
    return Connack(
        draw(st.booleans()) if may_be_present else False,
        code,
        draw(property_sets(PacketType.CONNACK, version, sender)),
    )


@cache
@st.composite
def publishes(draw: st.DrawFn, version: int, sender: Role) -> Publish:
    qos = draw(qos_levels)
    properties = draw(property_sets(PacketType.PUBLISH, version, sender))
    has_alias = properties is not None and properties.topic_alias is not None
    return Publish(
        NO_TOPIC if has_alias and draw(st.booleans()) else Topic(draw(topics)),
        draw(payloads),
        qos,
        draw(st.booleans()),
        draw(packet_ids) if qos else 0,
        properties,
        draw(st.booleans()) if qos else False,
    )


@cache
def acks(kind: PacketType, version: int, sender: Role) -> st.SearchStrategy[Ack]:
    if version < ProtocolVersion.V5:
        return st.builds(Ack, st.just(kind), packet_ids)
    return st.builds(
        Ack,
        st.just(kind),
        packet_ids,
        codes(kind, version, sender),
        property_sets(kind, version, sender),
    )


@cache
def subscribes(version: int, sender: Role) -> st.SearchStrategy[Subscribe]:
    if version < ProtocolVersion.V5:
        options = st.builds(SubscribeOptions, qos_levels)
        shared_options = options
    else:
        rest = (st.booleans(), st.integers(0, 2))
        options = st.builds(SubscribeOptions, qos_levels, st.booleans(), *rest)
        shared_options = st.builds(SubscribeOptions, qos_levels, st.just(False), *rest)
    subscription = st.tuples(filters, options) | st.tuples(
        shared_filters, shared_options
    )
    return st.builds(
        Subscribe,
        packet_ids,
        st.lists(subscription, min_size=1, max_size=4),
        property_sets(PacketType.SUBSCRIBE, version, sender),
    )


@cache
def unsubscribes(version: int, sender: Role) -> st.SearchStrategy[Unsubscribe]:
    return st.builds(
        Unsubscribe,
        packet_ids,
        st.lists(filters | shared_filters, min_size=1, max_size=4),
        property_sets(PacketType.UNSUBSCRIBE, version, sender),
    )


@cache
def subacks(kind: PacketType, version: int, sender: Role) -> st.SearchStrategy[Suback]:
    reasons: Strategy = st.just([])
    if kind is PacketType.SUBACK or version >= ProtocolVersion.V5:
        reasons = st.lists(codes(kind, version, sender), min_size=1, max_size=4)
    return st.builds(
        Suback, st.just(kind), packet_ids, reasons, property_sets(kind, version, sender)
    )


@cache
@st.composite
def signals(draw: st.DrawFn, kind: PacketType, version: int, sender: Role) -> Signal:
    if version < ProtocolVersion.V5:
        return Signal(kind)
    properties = draw(property_sets(kind, version, sender))
    code = draw(codes(kind, version, sender))
    if kind is PacketType.AUTH:
        properties = properties or Properties()
        if properties.authentication_method is None:
            properties.authentication_method = "SCRAM-SHA-1"
    return Signal(kind, code, properties)


@cache
def packets_of(
    kind: PacketType, version: ProtocolVersion, sender: Role
) -> st.SearchStrategy[Packet]:
    """All packets of one kind."""
    if kind is PacketType.CONNECT:
        return connects(version, sender)
    if kind is PacketType.CONNACK:
        return connacks(version, sender)
    if kind is PacketType.PUBLISH:
        return publishes(version, sender)
    if kind is PacketType.SUBSCRIBE:
        return subscribes(version, sender)
    if kind is PacketType.UNSUBSCRIBE:
        return unsubscribes(version, sender)
    if kind in (PacketType.SUBACK, PacketType.UNSUBACK):
        return subacks(kind, version, sender)
    if kind in (PacketType.PINGREQ, PacketType.PINGRESP):
        return st.just(Ping(kind))
    if kind in (PacketType.DISCONNECT, PacketType.AUTH):
        return signals(kind, version, sender)
    return acks(kind, version, sender)


def kinds(version: ProtocolVersion, sender: Role) -> list[PacketType]:
    """The packets that a role sends in a version."""
    return [
        kind
        for kind in PacketType
        if kind is not PacketType.WILL and sender in senders(kind, version)
    ]


@cache
def packets(version: ProtocolVersion, sender: Role) -> st.SearchStrategy[Packet]:
    """All packets of a role."""
    return st.sampled_from(kinds(version, sender)).flatmap(
        lambda kind: packets_of(kind, version, sender)
    )


# --- comparing -----------------------------------------------------------------


def same(packet: Packet) -> object:
    """Return the values in which two equivalent packets must agree.

    Empty properties equal None. A PUBLISH is compared by its fields, since messages are
    compared by identity.
    """
    if isinstance(packet, Publish):
        # So that they are decoded.
        _ = packet.properties
    fields = {name: getattr(packet, name) for name in _slots(packet)}
    for name, field in fields.items():
        if name in ("properties", "carried"):
            fields[name] = field or Properties()
        elif isinstance(field, WillMessage):
            fields[name] = same(field)  # type: ignore[arg-type]
    return type(packet), fields


def _slots(packet: Packet) -> list[str]:
    return [
        name
        for cls in type(packet).__mro__
        for name in getattr(cls, "__slots__", ())
        if not name.startswith("__")
    ]
