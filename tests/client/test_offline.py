"""What a client does with messages without a connection, as the program says it."""

import math

import pytest

from aiomqtt.client.offline import OfflineQueue, to_mode, to_offline


def test_a_client_waits_unless_it_is_told_otherwise():
    assert to_offline(None, reconnects=False) == ("wait", OfflineQueue())
    assert to_offline(None, reconnects=True) == ("wait", OfflineQueue())


@pytest.mark.parametrize("mode", ["wait", "queue", "fail"])
def test_a_mode_has_the_default_limits(mode):
    assert to_offline(mode, reconnects=True) == (mode, OfflineQueue())
    assert to_mode(mode) == mode


def test_limits_are_those_of_a_client_that_queues():
    limits = OfflineQueue(max_messages=1, max_age=0.5, qos0="drop")
    mode, given = to_offline(limits, reconnects=True)
    assert mode == "queue"
    assert given is limits


def test_the_default_limits():
    assert OfflineQueue() == OfflineQueue(
        max_messages=10_000,
        max_bytes=16 * 1024 * 1024,
        max_age=None,
        qos0="queue",
        overflow="fail",
    )


@pytest.mark.parametrize("value", ["wait", "queue", "fail", OfflineQueue()])
def test_without_reconnecting_there_is_nothing_to_decide(value):
    with pytest.raises(ValueError, match="pass reconnect=True as well"):
        to_offline(value, reconnects=False)


@pytest.mark.parametrize("value", [True, 1, {"max_messages": 1}])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match="offline must be str or OfflineQueue or None"):
        to_offline(value, reconnects=True)
    with pytest.raises(TypeError, match="offline must be str, not"):
        to_mode(value)


def test_other_words_are_refused():
    for check in (to_mode, lambda value: to_offline(value, reconnects=True)):
        with pytest.raises(ValueError, match='"wait", "queue" or "fail", not \'drop\''):
            check("drop")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"max_messages": 0}, ValueError, "max_messages must be 1 or more, not 0: for"),
        ({"max_bytes": -1}, ValueError, "max_bytes must be 1 or more, not -1: for a"),
        ({"max_messages": 1.5}, TypeError, "max_messages must be an int or None, not"),
        ({"max_bytes": True}, TypeError, "max_bytes must be an int or None, not bool"),
        ({"max_age": 0}, ValueError, "max_age must be a finite number above 0, not 0"),
        ({"max_age": math.inf}, ValueError, "max_age must be a finite number above 0"),
        ({"max_age": math.nan}, ValueError, "max_age must be a finite number above 0"),
        ({"max_age": "1"}, TypeError, "max_age must be a number, not str"),
        ({"qos0": "fail"}, ValueError, 'qos0 must be "queue" or "drop", not \'fail\''),
        ({"overflow": "pause"}, ValueError, 'overflow must be "fail" or "drop_oldest"'),
    ],
)
def test_limits_are_checked(arguments, error, match):
    with pytest.raises(error, match=match):
        OfflineQueue(**arguments)


def test_there_may_be_no_limit():
    limits = OfflineQueue(max_messages=None, max_bytes=None, max_age=None)
    assert (limits.max_messages, limits.max_bytes) == (None, None)
