"""The birth message of a continuous engine: where it stands among the others."""

from typing import Any

import pytest

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.delivery import DONE, WITHDRAWN
from aiomqtt.protocol.packets import Ack, Publish, Subscribe
from aiomqtt.standard.tables import PacketType, Role

from .client_and_broker import (
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    SUBACK,
    Broker,
    Client,
    connected,
    lasting,
    reconnect,
)

VERSIONS = (3, 4, 5)


def continuous(version: int = 5, is_lasting: bool = True, **settings: Any):
    client, broker = (lasting if is_lasting else connected)(version, **settings)
    client.engine.is_continuous = True
    return client, broker


def give_birth(client: Client, qos: int = 1, payload: bytes = b"born", **values: Any):
    properties = Properties(**values) if values else None
    birth = client.engine.prepare("birth", payload, qos, False, properties)
    client.engine.birth = birth
    return birth


def conversation(client: Client, broker: Broker) -> list[str]:
    """What the client writes while the broker acknowledges everything, in words."""
    words = []
    while packets := Decoder(client.version, Role.CLIENT).feed(broker.read()):
        for packet in packets:
            if isinstance(packet, Subscribe):
                words.append("subscribe")
                broker.sends(SUBACK(packet.packet_id, 1))
            elif isinstance(packet, Ack):
                assert packet.kind is PacketType.PUBREL
                broker.sends(PUBCOMP(packet.packet_id))
            else:
                assert isinstance(packet, Publish)
                words.append(packet.payload.decode())
                if packet.qos:
                    answer = PUBACK if packet.qos == 1 else PUBREC
                    broker.sends(answer(packet.packet_id))
    return words


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("is_kept", [True, False])
def test_it_comes_after_the_subscriptions_and_before_what_waits(version, qos, is_kept):
    client, broker = continuous(version, maximum_in_flight=1)
    request = client.subscribe("a", qos=1)
    broker.sends(SUBACK(request.packet_id, 1))
    for payload in (b"first", b"second", b"third"):
        client.publish("t", payload, 1)
    birth = give_birth(client, qos)
    reconnect(client, broker, is_kept)
    # What the broker may have got is sent again before all that it has not.
    expected = ["first", "born", "second", "third"]
    if version == 3:
        # There it is unknown whether it was lost.
        expected = ["subscribe", *expected]
    elif not is_kept:
        expected = ["subscribe", "born", "first", "second", "third"]
    assert conversation(client, broker) == expected
    assert birth.state == DONE
    assert client.engine.birth is None
    assert not len(client.engine.session.outbound)


def test_each_is_published_on_one_connection():
    client, broker = continuous(is_lasting=False)
    give_birth(client)
    reconnect(client, broker, False)
    assert conversation(client, broker) == ["born"]
    reconnect(client, broker, False)
    assert conversation(client, broker) == []


@pytest.mark.parametrize("is_lasting", [True, False])
def test_one_that_the_broker_has_not_got_is_not_sent_after_the_next(is_lasting):
    client, broker = continuous(4, is_lasting, maximum_in_flight=1)
    client.publish("t", b"first", 1)
    old = give_birth(client, payload=b"old")
    reconnect(client, broker, is_lasting)
    give_birth(client, payload=b"new")
    reconnect(client, broker, is_lasting)
    expected = ["first", "new"] if is_lasting else ["new", "first"]
    assert conversation(client, broker) == expected
    assert old.state == WITHDRAWN


def test_one_that_the_broker_may_have_got_is_sent_again():
    client, broker = continuous(4)
    give_birth(client, payload=b"old")
    reconnect(client, broker)
    give_birth(client, payload=b"new")
    reconnect(client, broker)
    assert conversation(client, broker) == ["old", "new"]


def test_one_that_the_broker_does_not_accept_is_no_problem_of_the_connection():
    client, broker = continuous()
    birth = give_birth(client, 2)
    reconnect(client, broker, maximum_qos=1)
    assert birth.reason_code == 0x9B
    assert birth in client.events()
    assert conversation(client, broker) == []
    assert not client.is_closed


def test_its_expiry_begins_with_the_connection():
    client, broker = continuous()
    give_birth(client, 0, message_expiry_interval=60)
    client.now = 1000.0
    reconnect(client, broker)
    broker.gets(PUBLISH("birth", b"born", message_expiry_interval=60))
