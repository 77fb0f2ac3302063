"""A client and a broker over a link that is cut at any packet, again and again."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomqtt.protocol.delivery import DONE
from tests.examples import examples

from .model import Link, Said

STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from("ab"), st.integers(0, 2)),
    st.tuples(st.just("broker publishes"), st.sampled_from("ab"), st.integers(0, 2)),
    st.tuples(st.just("to broker"), st.integers(1, 5)),
    st.tuples(st.just("to client"), st.integers(1, 5)),
    st.just(("cut",)),
    st.just(("subscribe",)),
)


def run(link: Link, steps, *, broker_loses_session: bool = False) -> list[Said]:
    """Go through the steps, and then on without a cut.

    Returns what the broker said, since it lost its session.
    """
    said: list[Said] = []
    number = 0
    for name, *arguments in steps:
        if name == "publish":
            link.publish(*arguments)
        elif name == "broker publishes":
            topic, qos = arguments
            number += 1
            message = (topic, b"s%d" % number, qos)
            if link.broker.has_session:
                said.append(message)
            link.broker_publishes(message)
        elif name == "to broker":
            link.deliver_to_broker(*arguments)
        elif name == "to client":
            link.deliver_to_client(*arguments)
        elif name == "subscribe":
            link.subscribe()
        else:
            if broker_loses_session:
                link.broker.lose_session()
                said.clear()
            link.reconnect()
    link.run_until_quiet()
    return said


def first_of_each(messages: list[Said]) -> list[Said]:
    return list(dict.fromkeys(messages))


def check_arrival(sent: list[Said], came: list[Said]) -> None:
    """QoS 1 came at least once, QoS 2 once, and for the first time in order."""
    counts = Counter(came)
    assert set(counts) <= set(sent)
    for message in sent:
        if message[2] == 1:
            assert counts[message] >= 1
        elif message[2] == 2:
            assert counts[message] == 1
        else:
            assert counts[message] <= 1
    for topic in "ab":
        # QoS 0 does not wait for the send quota, so it may overtake.
        wanted = [message for message in sent if message[0] == topic and message[2]]
        firsts = [message for message in first_of_each(came) if message[0] == topic]
        assert [message for message in firsts if message[2]] == wanted
        of_qos0 = [message for message in firsts if not message[2]]
        assert of_qos0 == [message for message in sent if message in of_qos0]


def check_completion(link: Link) -> None:
    """Each call was answered just once, and no identifier is held any more."""
    assert len(link.done) == len(set(map(id, link.done)))
    assert set(map(id, link.done)) == set(map(id, link.deliveries))
    assert all(delivery.state == DONE for delivery in link.deliveries)
    assert all(delivery.reason_code == 0 for delivery in link.deliveries)
    assert len(link.engine.session.outbound) == 0
    assert link.in_flight == {}
    assert link.broker.awaiting_release == set()
    assert link.broker.sent == link.broker.released == {}
    assert not link.broker.queue


@pytest.mark.conformance("5.0", "MQTT-4.3.2-3", "MQTT-4.3.3-6", "MQTT-4.3.3-10")
@pytest.mark.conformance("5.0", "MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT-4.6.0-2")
@pytest.mark.conformance("5.0", "MQTT-4.6.0-3", "MQTT-4.9.0-2", "MQTT-2.2.1-3")
@pytest.mark.conformance("3.1.1", "MQTT-4.3.2-1", "MQTT-4.3.3-1", "MQTT-4.3.3-2")
@pytest.mark.conformance("3.1.1", "MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT-2.3.1-2")
@examples(250)
@given(
    st.sampled_from([3, 4, 5]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(STEPS, min_size=5, max_size=80),
)
def test_qos_holds_whatever_is_lost_on_the_way(
    version, receive_maximum, clients_receive_maximum, steps
):
    link = Link(version, receive_maximum, clients_receive_maximum)
    said = run(link, steps)
    check_arrival(link.published, link.broker.received)
    check_arrival(said, link.messages)
    check_completion(link)


@examples(150)
@given(
    st.sampled_from([4, 5]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(STEPS, min_size=5, max_size=80),
)
def test_nothing_is_lost_or_stuck_when_the_broker_loses_its_session(
    version, receive_maximum, clients_receive_maximum, steps
):
    link = Link(version, receive_maximum, clients_receive_maximum)
    # All identifiers begin anew with the session.
    lose = link.broker.lose_session

    def lose_session() -> None:
        lose()
        link.in_flight.clear()

    link.broker.lose_session = lose_session  # type: ignore[method-assign]
    said = run(link, steps, broker_loses_session=True)
    check_arrival(said, [message for message in link.messages if message in said])
    came = Counter(link.broker.received)
    for message in link.published:
        assert came[message] >= 1 or not message[2]
    check_completion(link)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("cut", range(20))
def test_a_cut_after_every_packet(version, qos, cut):
    """Three messages each way; after so many packets, one way or the other, a cut."""
    link = Link(version, 2, 2)
    sent = []
    for n in range(3):
        link.publish("a", qos)
        sent.append(("b", b"s%d" % n, qos))
        link.broker_publishes(sent[-1])
    for _ in range(cut):
        if link.to_broker:
            link.deliver_to_broker(1)
        else:
            link.deliver_to_client(1)
    link.reconnect()
    link.run_until_quiet()
    check_arrival(link.published, link.broker.received)
    check_arrival(sent, link.messages)
    check_completion(link)
