"""Failures of the program's callables."""

from aiomqtt import MqttError
from aiomqtt.net.callables import CallableError


def test_the_error_names_the_target_and_has_the_cause():
    failure = CallableError("the callable for tls_context raised LookupError")
    failure.__cause__ = LookupError()
    error = failure.to_mqtt_error("localhost:8883")
    assert str(error) == (
        "Could not connect to localhost:8883: the callable for tls_context raised"
        " LookupError"
    )
    assert error.__cause__ is failure.__cause__


def test_an_mqtt_error_of_the_program_stays_as_it_is():
    failure = CallableError("the callable for tls_context raised MqttError")
    failure.__cause__ = MqttError("the token server is down")
    assert failure.to_mqtt_error("localhost:8883") is failure.__cause__
