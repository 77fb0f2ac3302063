"""The hooks by which a program decides who may connect, publish and subscribe."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from aiomqtt.properties import Properties
from aiomqtt.protocol.wire import encode_string
from aiomqtt.standard.names import FIRST_FAILURE
from aiomqtt.standard.tables import ProtocolVersion


@dataclass(frozen=True)
class ClientInfo:
    """A client, as it presents itself.

    Attributes:
        client_id: The client identifier, even if the broker assigned it.
        version: The version of MQTT.
        username: The user name, or ``None``.
        password: The password, or ``None``; it is not shown.
        properties: The properties of the CONNECT; ``None`` below 5.0.
        address: The client's address: ``"127.0.0.1:5123"`` or ``"memory"``.
        certificate: The client's certificate, as ``ssl.SSLSocket.getpeercert``
            returns it; ``None``: the client has none.
    """

    client_id: str
    version: ProtocolVersion
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    properties: Properties | None = None
    address: str = ""
    certificate: Mapping[str, object] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Refusal:
    """The refusal of a client, with its reason.

    Args:
        reason_code: The reason code of 5.0, from 0x80 on; a client below 5.0 gets the
            return code that comes closest.
        reason_string: An explanation for people; ``None``: none.
        server_reference: The server to use instead, for 0x9C and 0x9D
            (MQTT 5.0 §4.11); ``None``: none.

    Raises:
        ValueError: A CONNACK that refuses can't have this code, or can't carry a text:
            it has more than 65535 bytes, U+0000 or a surrogate.
        TypeError: A text is not a str.
    """

    reason_code: int
    reason_string: str | None = None
    server_reference: str | None = None

    def __post_init__(self) -> None:
        """Check the code."""
        if not FIRST_FAILURE <= self.reason_code <= 0xFF:
            msg = f"reason_code must be 0x80 to 0xFF, not {self.reason_code:#04x}"
            raise ValueError(msg)
        check_texts(self.reason_string, self.server_reference)


class Authentication(Protocol):
    """An exchange of AUTH packets with a client (MQTT 5.0 §4.12).

    Attributes:
        client: The client.
        method: Its Authentication Method.
        data: The Authentication Data of its first packet, or ``None``.
        is_again: Whether the client is connected, and reauthenticates (§4.12.1).
        username: Set it to the user that the method has found: if the hook accepts the
            client, it becomes `ClientInfo.username`. ``None``: that does not change.
    """

    client: ClientInfo
    method: str
    data: bytes | None
    is_again: bool
    username: str | None

    async def challenge(self, data: bytes | None = None) -> bytes | None:
        """Send an AUTH that continues; return the Authentication Data of the answer."""


# True: it is allowed; False: it is not; or the reason code of the refusal.
Verdict: TypeAlias = bool | int | Refusal
Action: TypeAlias = Literal["publish", "subscribe"]
Authenticate: TypeAlias = Callable[[ClientInfo], Awaitable[Verdict]]
Authorize: TypeAlias = Callable[[ClientInfo, Action, str], Awaitable[bool | int]]
EnhancedAuthentication: TypeAlias = Callable[
    [Authentication], Awaitable[Verdict | bytes]
]


def check_texts(reason_string: str | None, server_reference: str | None) -> None:
    """Check that a packet can carry these texts.

    Raises:
        ValueError: One is not a UTF-8 Encoded String of MQTT (§1.5.4).
        TypeError: One is not a str.
    """
    for name, text in (
        ("reason_string", reason_string),
        ("server_reference", server_reference),
    ):
        if text is None:
            continue
        if not isinstance(text, str):
            msg = f"{name} must be a str, not {type(text).__name__}"
            raise TypeError(msg)
        encode_string(text, name)


def to_refusal(verdict: object, otherwise: int) -> Refusal | None:
    """Convert the result of a hook to a refusal; None: it is allowed.

    Args:
        verdict: The result of the hook.
        otherwise: The reason code for False.

    Raises:
        TypeError: A hook may not return this. None is not allowed either, so that a
            hook without a `return` admits no client.
        ValueError: The result is a number, but not a reason code of a refusal.
    """
    if verdict is True:
        return None
    if verdict is False:
        return Refusal(otherwise)
    if isinstance(verdict, Refusal):
        return verdict
    if isinstance(verdict, int):
        return Refusal(int(verdict)) if verdict else None
    msg = f"a hook must return a bool, an int or a Refusal, not {verdict!r}"
    raise TypeError(msg)
