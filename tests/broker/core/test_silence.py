"""How long a client may say nothing, and a packet may take to come."""

from aiomqtt.broker.core.silence import ROUND, SHORT_ROUND, Silence


def test_silence_counts_from_what_was_heard_last():
    silence = Silence(10, 60, 1000)
    assert not silence.is_too_long(1009.9)
    assert silence.is_too_long(1010)
    silence.hear(1005)
    assert not silence.is_too_long(1014.9)
    assert silence.is_too_long(1015)


def test_without_patience_it_may_last():
    silence = Silence(0, 60, 1000)
    assert not silence.is_too_long(1e9)
    assert silence.wait(1e9, False) == ROUND


def test_a_packet_counts_from_its_beginning():
    silence = Silence(0, 20, 1000)
    silence.note_partial(True, False, 1001)
    silence.note_partial(True, False, 1010)  # more of the same
    assert not silence.is_stuck(1020.9)
    assert silence.is_stuck(1021)
    silence.note_partial(True, True, 1011)  # the next one
    assert not silence.is_stuck(1030.9)
    silence.note_partial(False, False, 1012)
    assert not silence.is_stuck(1e9)


def test_what_is_not_read_is_excused():
    silence = Silence(10, 20, 1000)
    silence.note_partial(True, False, 1000)
    silence.excuse(1050)
    assert not silence.is_too_long(1059)
    assert not silence.is_stuck(1069)
    assert silence.is_stuck(1070)


def test_when_to_look_again():
    silence = Silence(10, 60, 1000)
    assert silence.wait(1004, False) == 6
    assert silence.wait(1010, False) == 0
    assert silence.wait(1010, True) == SHORT_ROUND
    assert Silence(1000, 60, 0).wait(0, False) == ROUND
    assert Silence(1000, 7, 0).wait(0, False) == 7
