"""Errors that several callers get."""

from aiomqtt import MqttError
from aiomqtt.client.waiters import copy_error


def test_a_copy_has_the_cause_and_notes_of_its_own():
    error = MqttError("lost")
    error.__cause__ = OSError()
    error.add_note("for all")
    copied = copy_error(error)
    copied.add_note("for one caller")
    assert copied.args == error.args
    assert copied.__cause__ is error.__cause__
    assert copied.__notes__ == ["for all", "for one caller"]
    assert error.__notes__ == ["for all"]
