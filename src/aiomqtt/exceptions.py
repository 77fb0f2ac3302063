"""The errors. All derive from `MqttError` and carry data."""

from typing import Final

from .paho import ReasonCodeLike, to_reason_code
from .properties import PlainCode, Properties, ReasonCode
from .standard.tables import CONNECT_REASON_CODES, CONNECT_RETURN_CODES

# The texts of paho-mqtt, which aiomqtt 2 printed for a code that is a plain number.
# This client raises 4 and 15.
_ERRORS_OF_PAHO: Final = {
    0: "No error.",
    1: "Out of memory.",
    2: "A network protocol error occurred when communicating with the broker.",
    3: "Invalid function arguments provided.",
    4: "The client is not currently connected.",
    5: "The connection was refused.",
    6: "Message not found (internal error).",
    7: "The connection was lost.",
    8: "A TLS error occurred.",
    9: "Payload too large.",
    10: "This feature is not supported.",
    11: "Authorisation failed.",
    12: "Access denied by ACL.",
    13: "Unknown error.",
    14: "Error defined by errno.",
    15: "Message queue full.",
    16: "Client or broker did not communicate in the keepalive interval.",
}


class MqttError(Exception):
    """An error between this client and the broker; the root of all errors.

    Attributes:
        reason_code: The reason code that the broker gave, or with which this client
            closed the connection; ``None``: there is none.
        reason_string: The broker's explanation (MQTT 5.0 Reason String), or ``None``.
        properties: The properties of the packet from the broker that caused the error,
            unchanged: a CONNACK that refused (MQTT 5.0 §3.2.2.3), the DISCONNECT that
            ended the connection (§3.14.2.2), or a PUBACK or PUBREC that refused a
            message (§3.4.2.2, §3.5.2.2), such as `user_property`. ``None``: the packet
            had none, the version is below 5.0, or no such packet came.
        is_in_session: Whether the message of a failed publish is in the session.
            ``True``: it will be sent when the connection allows it, or when the client
            is entered again, as long as the session exists; publishing it again could
            deliver it twice. ``False``: the session does not have it, so the program
            decides whether to publish it again.
        position: The position of the failed message in `Client.publish_many`, counted
            from 0; ``None`` for other calls.
        accepted: The number of messages of `Client.publish_many`, counted from the
            first, that need not be published again: each of them was acknowledged or
            refused, or is in the session. ``None`` for other calls.
    """

    reason_code: ReasonCode | None = None
    reason_string: str | None = None
    properties: Properties | None = None
    is_in_session: bool = False
    position: int | None = None
    accepted: int | None = None

    @property
    def server_reference(self) -> str | None:
        """The server to use instead (MQTT 5.0 §4.11), as the broker named it.

        It may name several, separated by spaces; ``None``: it named none.
        """
        return None if self.properties is None else self.properties.server_reference


class MqttCodeError(MqttError):
    """An error that comes with a reason code.

    Args:
        rc: The code: a number, a ReasonCode (ours or paho-mqtt's), or ``None``.
        *args: The text; without one, the code's own name.

    Attributes:
        rc: The code: equals the plain number and has ``.value``; or ``None``.
    """

    def __init__(self, rc: ReasonCodeLike | None = None, *args: object) -> None:
        super().__init__(*args)
        self.rc: ReasonCode | None = to_reason_code(rc)
        self.reason_code: ReasonCode | None = self.rc

    def __str__(self) -> str:
        """Return ``[code:N]`` and the text."""
        code = None if self.rc is None else int(self.rc)
        if self.args:
            text = " ".join(map(str, self.args))
        elif isinstance(self.rc, PlainCode) and self.rc.value in _ERRORS_OF_PAHO:
            text = _ERRORS_OF_PAHO[self.rc.value]
        else:
            text = "" if self.rc is None else self.rc.getName()
        return f"[code:{code}] {text}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the code, which is not among the args."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[MqttCodeError], args: tuple[object, ...], state: dict[str, object]
) -> MqttCodeError:
    """Recreate an error when unpickling; `rc` is in the state."""
    error = kind.__new__(kind)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class MqttConnectError(MqttCodeError):
    """The broker refused the connection with its CONNACK (MQTT 5.0 §3.2.2.2).

    The return codes of 3.1 and 3.1.1 are translated to the reason codes of 5.0: a bad
    password is 0x86 in each version. They also equal their original number.

    Args:
        rc: The code of the CONNACK: a ReasonCode (ours or paho-mqtt's), or a number,
            of which 1 to 5 are the return codes of 3.1.1.
        *args: The text. The default is the name of a ReasonCode; for a number,
            "Connection refused" and the name.
    """

    def __init__(self, rc: ReasonCodeLike | None, *args: object) -> None:
        code = to_reason_code(rc)
        text = " ".join(map(str, args))
        if isinstance(code, PlainCode):
            if code in CONNECT_REASON_CODES:
                name = CONNECT_RETURN_CODES[code]
                # It equals the code of 5.0 as well.
                code = PlainCode(code, name, CONNECT_REASON_CODES[code])
            text = f"Connection refused: {text or code.getName()}"
        elif code is not None:
            text = text or code.getName()
        super().__init__(code, text or "Connection refused")


class MqttLimitError(MqttCodeError, ValueError):
    """The call exceeds a limit that the broker set for this connection.

    It is raised before anything is sent: for a packet above the broker's Maximum Packet
    Size, a QoS above its Maximum QoS, a retained message if Retain Available is 0.
    """


class MqttReentrantError(MqttError):
    """The client was entered while it was already entered."""
