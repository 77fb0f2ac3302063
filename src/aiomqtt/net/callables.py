"""Failures of the program's callables that are called while a target is opened."""

from typing import Final

from aiomqtt.exceptions import MqttError

# An attribute of errors that is of use to this library alone.
_MARK: Final = "_failed_in_program"


def failed_in_program(error: MqttError) -> bool:
    """Whether an attempt failed in a callable of the program, with its exception.

    This client may fail with a cause of the same class.
    """
    return _MARK in vars(error)


def mark(error: MqttError) -> MqttError:
    """Note that an attempt failed in a callable of the program; return the error."""
    vars(error)[_MARK] = True
    return error


class CallableError(Exception):
    """A callable of the program raised an exception, which is the cause."""

    def to_mqtt_error(self, target: object) -> MqttError:
        """Return the error of the attempt to connect to a target.

        It has the same cause. An `MqttError` of the program stays as it is.
        """
        cause = self.__cause__
        if isinstance(cause, MqttError):
            return cause
        error = mark(MqttError(f"Could not connect to {target}: {self}"))
        error.__cause__ = cause
        return error
