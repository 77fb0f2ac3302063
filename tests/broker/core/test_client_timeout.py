"""The timeouts of a client: for silence, and for an incomplete packet."""

from aiomqtt.broker.core.client_timeout import (
    CHECK_INTERVAL,
    PAUSED_CHECK_INTERVAL,
    ClientTimeout,
)


def test_silence_counts_from_what_was_heard_last():
    timeout = ClientTimeout(10, 60, 1000)
    assert not timeout.has_expired(1009.9)
    assert timeout.has_expired(1010)
    timeout.on_activity(1005)
    assert not timeout.has_expired(1014.9)
    assert timeout.has_expired(1015)


def test_without_patience_it_may_last():
    timeout = ClientTimeout(0, 60, 1000)
    assert not timeout.has_expired(1e9)
    assert timeout.next_check(1e9, False) == CHECK_INTERVAL


def test_a_packet_counts_from_its_beginning():
    timeout = ClientTimeout(0, 20, 1000)
    timeout.note_partial(True, False, 1001)
    timeout.note_partial(True, False, 1010)  # more of the same
    assert not timeout.is_packet_overdue(1020.9)
    assert timeout.is_packet_overdue(1021)
    timeout.note_partial(True, True, 1011)  # the next one
    assert not timeout.is_packet_overdue(1030.9)
    timeout.note_partial(False, False, 1012)
    assert not timeout.is_packet_overdue(1e9)


def test_what_is_not_read_is_excused():
    timeout = ClientTimeout(10, 20, 1000)
    timeout.note_partial(True, False, 1000)
    timeout.restart(1050)
    assert not timeout.has_expired(1059)
    assert not timeout.is_packet_overdue(1069)
    assert timeout.is_packet_overdue(1070)


def test_when_to_look_again():
    timeout = ClientTimeout(10, 60, 1000)
    assert timeout.next_check(1004, False) == 6
    assert timeout.next_check(1010, False) == 0
    assert timeout.next_check(1010, True) == PAUSED_CHECK_INTERVAL
    assert ClientTimeout(1000, 60, 0).next_check(0, False) == CHECK_INTERVAL
    assert ClientTimeout(1000, 7, 0).next_check(0, False) == 7
