"""Slips of a broker that leave nothing in doubt, which the client overlooks.

docs/decisions/0008 has the rule: strict where state is at stake, patient elsewhere.
"""

import pytest

from aiomqtt.exceptions import MqttCodeError
from aiomqtt.protocol.dispatch import State
from aiomqtt.protocol.output import Connected
from aiomqtt.protocol.requests import Request
from aiomqtt.standard.tables import PacketType, Role, reason_codes

from .client_and_broker import (
    CONNACK,
    PUBLISH,
    SUBACK,
    UNSUBACK,
    connected,
    octets,
    strangers,
)

# --- a CONNACK that refuses ----------------------------------------------------

REFUSALS = [
    # version, CONNACK, the reason code that the program sees
    (5, "20 02 00 01", 0x84),  # the form of 3.1.1, and its return codes
    (5, "20 02 00 02", 0x85),
    (5, "20 02 00 03", 0x88),
    (5, "20 02 00 04", 0x86),
    (5, "20 02 00 05", 0x87),
    (5, "20 02 00 84", 0x84),  # the form of 3.1.1 with a code of 5.0
    (5, "20 02 00 87", 0x87),
    (5, "20 03 00 01 00", 0x84),  # the form of 5.0 with a return code of 3.1.1
    (5, "20 03 00 05 00", 0x87),
    (5, "20 03 00 8d 00", 0x8D),  # failures that are not listed for CONNACK
    (5, "20 03 00 ff 00", 0xFF),
    (5, "20 03 fe 87 00", 0x87),  # flags, which mean nothing in a refusal
    (4, "20 02 00 80", 0x80),
    (4, "20 02 00 87", 0x87),
    (4, "20 02 fe 05", 0x87),
    (3, "20 02 00 87", 0x87),
]


@pytest.mark.parametrize(("version", "connack", "code"), REFUSALS)
def test_a_refusal_is_understood_in_any_form(version, connack, code):
    client, broker = strangers(version)
    client.connect()
    broker.gets_connect()
    broker.sends(octets(connack))
    assert client.closed_with() == code
    broker.gets_nothing()


@pytest.mark.parametrize("connack", ["20 02 00 01", "20 02 00 05"])
def test_a_return_code_of_3_1_1_equals_its_own_number_too(connack):
    client, broker = strangers(5)
    client.connect()
    broker.sends(octets(connack))
    error = client.closed()
    assert isinstance(error, MqttCodeError)
    assert error.rc == octets(connack)[-1]


def test_what_accepts_as_in_3_1_1_is_not_spoken_to_in_5_0():
    # From here on each side would read what the other writes in another way.
    client, broker = strangers(5)
    client.connect()
    broker.gets_connect()
    broker.sends(octets("20 02 00 00"))
    error = client.closed()
    assert isinstance(error, MqttCodeError)
    assert error.rc == 0x81
    assert "protocol=ProtocolVersion.V311" in str(error)


# --- Session Present -----------------------------------------------------------


@pytest.mark.conformance("3.1.1", "MQTT-3.2.2-1")
@pytest.mark.conformance("3.1.1", "MQTT-3.1.2-6")
def test_session_present_after_a_clean_session_of_3_1_1_is_overlooked():
    client, broker = strangers(4, client_id="c", clean_start=True)
    client.connect()
    broker.gets_connect()
    broker.sends(CONNACK(session_present=True))
    assert client.state() is State.CONNECTED
    [event] = client.events()
    assert isinstance(event, Connected)
    # The broker has begun anew, as it was asked to.
    assert event.connack.session_present is False
    client.publish("t", b"x", 1)
    broker.gets(PUBLISH("t", b"x", 1, 1))


def test_nothing_is_resumed_that_a_clean_session_has_ended():
    client, broker = connected(4, client_id="c", clean_start=True)
    client.publish("t", b"x", 1)
    broker.read()
    broker.vanishes()
    client.events()
    client.connect()
    client.written = b""
    broker.sends(CONNACK(session_present=True))
    broker.gets_nothing()


# --- answers -------------------------------------------------------------------


@pytest.mark.parametrize("code", [0x00, 0x11, 0x87])
def test_one_code_answers_an_unsubscribe_of_several_filters(code):
    client, broker = connected()
    request = client.unsubscribe("a", "b", "c")
    broker.sends(UNSUBACK(1, code))
    assert client.events() == [request]
    assert request.reason_codes == [code] * 3


def test_the_last_of_too_few_codes_counts_for_the_rest():
    client, broker = connected()
    request = client.unsubscribe("a", "b", "c")
    broker.sends(UNSUBACK(1, 0, 0x11))
    assert client.events() == [request]
    assert request.reason_codes == [0, 0x11, 0x11]


@pytest.mark.parametrize("is_one_chunk", [True, False])
def test_an_unsuback_for_each_filter_is_one_answer(is_one_chunk):
    # rumqttd 0.20.
    client, broker = connected()
    request = client.unsubscribe("a", "b")
    answers = octets("b0 04 00 01 00 00"), octets("b0 04 00 01 00 00")
    if is_one_chunk:
        broker.sends(b"".join(answers))
    else:
        broker.sends_separately(*answers)
    events = [event for event in client.events() if isinstance(event, Request)]
    assert events == [request]
    assert not client.is_closed
    # Nor does the second answer what is asked next.
    following = client.subscribe("a")
    broker.sends(octets("b0 04 00 01 00 00"))
    assert client.events() == []
    broker.sends(SUBACK(2, 0))
    assert client.events() == [following]


FAILURES = range(0x80, 0x100)


def test_any_failure_answers_a_subscribe(version):
    for code in FAILURES:
        client, broker = connected(version)
        request = client.subscribe("a", "b")
        none = b"\x00" * (version == 5)
        body = b"\x00\x01" + none + bytes([0, code])
        broker.sends(bytes([0x90, len(body)]) + body)
        assert client.events() == [request]
        assert request.reason_codes == [0, code]
        assert request.reason_codes[1].is_failure


def test_any_failure_answers_an_unsubscribe():
    for code in FAILURES:
        client, broker = connected()
        request = client.unsubscribe("a")
        broker.sends(octets("b0 04 00 01 00") + bytes([code]))
        assert client.events() == [request]
        assert request.reason_codes == [code]


@pytest.mark.parametrize(("first", "qos"), [("40", 1), ("50", 2)])
def test_any_failure_ends_a_publish(first, qos):
    for code in FAILURES:
        client, broker = connected()
        delivery = client.publish("t", b"", qos)
        broker.read()
        broker.sends(octets(f"{first} 03 00 01") + bytes([code]))
        assert client.events() == [delivery]
        assert delivery.reason_code == code
        broker.gets_nothing()


def test_any_failure_is_a_reason_to_disconnect():
    for code in FAILURES:
        client, broker = connected()
        broker.sends(bytes((0xE0, 1, code)))
        error = client.closed()
        assert isinstance(error, MqttCodeError)
        assert error.rc == code
        assert "by the broker" in str(error)
        broker.gets_nothing()


@pytest.mark.parametrize("kind", [PacketType.PUBREL, PacketType.PUBCOMP])
def test_what_goes_on_after_a_publish_has_listed_codes_only(kind):
    listed = reason_codes(kind, 5, Role.SERVER)
    for code in FAILURES:
        client, broker = connected()
        client.publish("t", b"", 2)
        broker.sends(octets("50 02 00 01"))
        first = kind << 4 | (2 if kind is PacketType.PUBREL else 0)
        broker.sends(bytes((first, 3, 0, 1, code)))
        assert client.is_closed == (code not in listed)
