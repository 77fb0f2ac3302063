"""Topic aliases in either direction by themselves."""

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.aliases import InboundAliases, OutboundAliases
from aiomqtt.protocol.packets import NO_TOPIC, Publish
from aiomqtt.protocol.wire import PacketError
from aiomqtt.topic import Topic


def message(topic: str, alias: int | None) -> Publish:
    name = Topic(topic) if topic else NO_TOPIC
    return Publish(name, b"", 0, False, 0, Properties(topic_alias=alias), False)


def resolved(aliases: InboundAliases, topic: str, alias: int | None) -> str:
    packet = message(topic, alias)
    aliases.resolve(packet)
    return packet.topic.value


def test_received_aliases_are_set_used_and_set_again():
    aliases = InboundAliases(2)
    assert resolved(aliases, "a", None) == "a"
    assert resolved(aliases, "a", 1) == "a"
    assert resolved(aliases, "b", 2) == "b"
    assert resolved(aliases, "", 1) == "a"
    assert resolved(aliases, "c", 1) == "c"
    assert resolved(aliases, "", 1) == "c"
    assert resolved(aliases, "", 2) == "b"


@pytest.mark.parametrize(
    ("maximum", "topic", "alias", "code"),
    [(0, "a", 1, 0x94), (2, "a", 3, 0x94), (2, "", 3, 0x94), (2, "", 2, 0x82)],
)
def test_a_wrong_received_alias_has_its_reason(maximum, topic, alias, code):
    with pytest.raises(PacketError) as raised:
        InboundAliases(maximum).resolve(message(topic, alias))
    assert raised.value.reason_code == code


def test_a_sent_alias_is_told_before_it_is_used():
    aliases = OutboundAliases(2)
    assert [aliases.apply(topic, 1) for topic in "aabba"] == ["a", "", "b", "", "a"]
    assert aliases.apply("a", 2) == "a"
