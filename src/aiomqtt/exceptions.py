"""The errors: one root, `MqttError`, and they carry data."""

from typing import Final

from .paho import ReasonCodeLike, to_reason_code
from .properties import PlainCode, Properties, ReasonCode
from .standard.tables import CONNECT_REASON_CODES, CONNECT_RETURN_CODES

# The errors of paho-mqtt, which aiomqtt 2 printed for a code that is a plain number.
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
    """Anything that goes wrong between this client and the broker.

    Attributes:
        reason_code: The reason code that the broker gave or that this client
            closed the connection with; ``None`` when there is none.
        reason_string: The broker's own words (MQTT 5.0 Reason String), or ``None``.
        properties: The properties of the packet in which the broker said so, as they
            came: of a CONNACK that refused (MQTT 5.0 §3.2.2.3), of the DISCONNECT that
            ended the connection (§3.14.2.2), of a PUBACK or PUBREC that refused a
            message (§3.4.2.2, §3.5.2.2). Among them are `server_reference`, the server
            to use instead (§4.11), and `user_property`. ``None``: it had none, the
            version is below 5.0, or no such packet came.
        is_in_session: Of a publish that failed: whether its message is in the session,
            which goes on with it. ``True``: it is sent when the connection allows it,
            or when the client is entered again, as long as the session lasts;
            publishing it again could deliver it twice. ``False``: the session does not
            have it, so it is up to the program whether to publish it again.
        position: Which message of `Client.publish_many` failed, counted from 0;
            ``None`` elsewhere.
        accepted: How many messages of `Client.publish_many`, counted from its first,
            need not be published again: each of them is done, was refused, or is in the
            session. ``None`` elsewhere.
    """

    reason_code: ReasonCode | None = None
    reason_string: str | None = None
    properties: Properties | None = None
    is_in_session: bool = False
    position: int | None = None
    accepted: int | None = None


class MqttCodeError(MqttError):
    """An error that comes with a reason code.

    Args:
        rc: The code: a number, a ReasonCode (ours or paho-mqtt's), or ``None``.
        *args: The text; without one, the code's own name.

    Attributes:
        rc: The code: equals the plain number and has ``.value``; or ``None``.
    """

    def __init__(self, rc: ReasonCodeLike | None = None, *args: object) -> None:
        """Take the code and the text."""
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
    """Make an error anew; `rc` is in the state."""
    error = kind.__new__(kind)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class MqttConnectError(MqttCodeError):
    """The broker refused the connection with its CONNACK (MQTT 5.0 §3.2.2.2).

    The return codes of 3.1 and 3.1.1 come as the reason codes that 5.0 has in their
    place: a bad password is 0x86 in each version. They equal their own number too.

    Args:
        rc: The code of the CONNACK: a ReasonCode (ours or paho-mqtt's), or a number,
            of which 1 to 5 are the return codes of 3.1.1.
        *args: The text. Without it: the name of a ReasonCode; for a number "Connection
            refused" and the name.
    """

    def __init__(self, rc: ReasonCodeLike | None, *args: object) -> None:
        """Take the code of the CONNACK."""
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
    """What was asked for exceeds what the broker allows on this connection.

    Found here, before anything was sent: a packet above its Maximum Packet Size,
    a QoS above its Maximum QoS, a retained message where Retain Available is 0.
    """


class MqttReentrantError(MqttError):
    """The client was entered while it was already entered."""
