"""Acknowledgements of messages that several streams have."""

import pytest

from aiomqtt import Message, MqttError, ProtocolVersion
from aiomqtt.protocol.acknowledgements import Acknowledgements, AckTicket
from aiomqtt.streams.shared_ack import SentAck, copies_of


def shared(*are_late: bool) -> tuple[Acknowledgements, AckTicket, list[Message]]:
    acknowledgements = Acknowledgements(ProtocolVersion.V5)
    message = Message("t", b"x", 1, False, 1, None)
    ticket = acknowledgements.expect(1, 1)
    message.ticket = ticket
    return acknowledgements, ticket, copies_of(message, [*are_late])


def test_the_last_of_the_copies_acknowledges():
    _, ticket, copies = shared(True, True, True)
    assert [copy.payload for copy in copies] == [b"x"] * 3
    for copy in copies[::-1]:
        assert not ticket.is_decided
        copy.ack()
    assert ticket.reason_code == 0


@pytest.mark.parametrize("codes", [(0x83, 0), (0, 0x83), (0x80, 0x83)])
def test_a_refusal_takes_precedence(codes):
    _, ticket, copies = shared(True, True)
    for copy, code in zip(copies, codes, strict=True):
        copy.ack(code)
    assert ticket.reason_code == 0x83


def test_a_copy_is_acknowledged_once():
    _, ticket, (first, second) = shared(True, True)
    first.ack()
    with pytest.raises(MqttError, match="acknowledged already"):
        first.ack()
    with pytest.raises(ValueError, match="reason_code must be one of"):
        second.ack(0x85)
    assert second.ticket is not None
    assert not second.ticket.is_decided
    assert not ticket.is_decided
    second.ticket.finish()
    second.ticket.finish()
    assert ticket.is_decided


def test_streams_that_do_not_acknowledge_do_not_count():
    _, ticket, (first, other) = shared(True, False)
    assert other.ticket is None
    first.ack()
    assert ticket.is_decided
    _, ticket, copies = shared(False, False)
    assert [copy.ticket for copy in copies] == [None, None]
    assert ticket.is_decided


def test_after_the_connection_all_copies_are_void():
    acknowledgements, ticket, (first, second) = shared(True, True)
    assert first.ticket is not None
    assert second.ticket is not None
    first.ack()
    acknowledgements.end()
    assert not first.ticket.is_void
    assert second.ticket.is_void
    with pytest.raises(MqttError, match="connection on which it came has ended"):
        second.ack()
    second.ticket.finish()
    assert not ticket.is_decided


def test_a_message_that_was_acknowledged_on_receipt_can_be_acknowledged_once():
    message = Message("t", b"x", 1, False, 1, None)
    message.ticket = SentAck()
    assert not message.ticket.is_void
    message.ack(0x83)
    assert message.ticket.is_decided
    with pytest.raises(MqttError, match="acknowledged already"):
        message.ack()
    message.ticket.finish()
