"""The state that outlives a connection."""

from aiomqtt.protocol.delivery import LOST, Delivery
from aiomqtt.protocol.packets import Publish
from aiomqtt.protocol.session import Session
from aiomqtt.standard.tables import ProtocolVersion
from aiomqtt.topic import Topic

V5 = ProtocolVersion.V5


def test_a_session_begins_with_nothing():
    session = Session("c")
    assert session.client_id == "c"
    assert not session.exists
    assert not session.connected_before
    assert session.clear() == []


def test_clear_ends_the_session_in_both_directions():
    session = Session("c")
    session.exists = session.connected_before = True
    out: list[bytes] = []
    session.outbound.open(V5, lambda delivery, now: (b"\x32\x06\x00\x01t", b"\x00"))
    delivery = Delivery("t", b"", 1, False, None, 8)
    session.outbound.send(delivery, out, 0.0)
    message = Publish(Topic("t"), b"", 2, False, 1, None, False)
    assert session.inbound.accept(message, out)
    assert not session.inbound.accept(message, out)
    assert session.clear() == [delivery]
    assert delivery.state == LOST
    assert not session.exists
    # That it was ever accepted, and under which name, is not the session's state.
    assert (session.connected_before, session.client_id) == (True, "c")
    assert session.inbound.accept(message, out)
