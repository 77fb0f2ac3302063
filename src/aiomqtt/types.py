"""Types of arguments, and the values that configure a client."""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from .argument_checks import check_type
from .message import Message
from .paho import PropertiesLike, SubscribeOptionsLike
from .payload import PayloadType
from .proxy_settings import ProxySettings
from .topic import TopicLike, WildcardLike

__all__ = [
    "CredentialsSource",
    "ListOf",
    "PayloadType",
    "PropertiesLike",
    "ProxySettings",
    "Publication",
    "PublicationLike",
    "RequestHandler",
    "SocketOption",
    "SubscribeOptionsLike",
    "SubscribeTopic",
    "Subscription",
    "TLSContextLike",
    "TLSParameters",
    "UnsubscribeTopic",
    "WebSocketHeaders",
    "Will",
    "WillSource",
]

if TYPE_CHECKING:
    Item = TypeVar("Item", covariant=True)

    class ListOf(Protocol[Item]):
        """A list that is only read, so a ``list[Topic]`` is a ``ListOf[str | Topic]``.

        A tuple doesn't match: it means one filter and its options.
        """

        def __iter__(self) -> Iterator[Item]:
            """Return an iterator over the items."""
            ...

        def reverse(self) -> None:
            """Reverse the list. Neither a str nor a tuple has this method."""

else:
    ListOf = list  # it is one, and a protocol is slow to create

Subscription: TypeAlias = (
    WildcardLike | tuple[WildcardLike, int] | tuple[WildcardLike, SubscribeOptionsLike]
)
# Takes a request and returns the payload of its response; None: there is none.
RequestHandler: TypeAlias = Callable[[Message], Awaitable[PayloadType] | PayloadType]
SubscribeTopic: TypeAlias = Subscription | ListOf[Subscription]
UnsubscribeTopic: TypeAlias = (
    WildcardLike | ListOf[WildcardLike] | tuple[WildcardLike, ...]
)
WebSocketHeaders: TypeAlias = (
    dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
)
# A context, or a callable that is called for each connection and returns one.
TLSContextLike: TypeAlias = (
    ssl.SSLContext
    | Callable[[], ssl.SSLContext]
    | Callable[[], Awaitable[ssl.SSLContext]]
)
# Returns the user name and the password of a CONNECT.
CredentialsSource: TypeAlias = Callable[
    [],
    Awaitable[tuple[str | None, str | bytes | None]]
    | tuple[str | None, str | bytes | None],
]
# The arguments of socket.setsockopt.
SocketOption: TypeAlias = tuple[int, int, int | bytes] | tuple[int, int, None, int]


class Publication(NamedTuple):
    """A message to publish. A tuple of `Client.publish`'s arguments does the same.

    Args:
        topic: The topic name.
        payload: The payload: a str is sent as UTF-8, a number as its decimal text,
            ``None`` as an empty payload.
        qos: 0, 1 or 2.
        retain: Whether the broker retains the message.
        properties: The properties (5.0 only); ``None``: none.
    """

    topic: TopicLike
    payload: PayloadType = None
    qos: int = 0
    retain: bool = False
    properties: PropertiesLike | None = None


PublicationLike: TypeAlias = (
    Publication
    | tuple[TopicLike]
    | tuple[TopicLike, PayloadType]
    | tuple[TopicLike, PayloadType, int]
    | tuple[TopicLike, PayloadType, int, bool]
    | tuple[TopicLike, PayloadType, int, bool, PropertiesLike | None]
)


@dataclass(frozen=True)
class Will:
    """The message that the broker publishes when the connection ends uncleanly.

    MQTT 5.0 §3.1.2.5.

    Args:
        topic: The topic to publish to.
        payload: The payload; ``None``: empty.
        qos: 0, 1 or 2.
        retain: Whether the broker retains the message.
        properties: The will's properties (5.0 only), among them
            ``will_delay_interval`` in seconds; ``None``: none.
    """

    topic: TopicLike
    payload: PayloadType = None
    qos: int = 0
    retain: bool = False
    properties: PropertiesLike | None = None


WillSource: TypeAlias = Will | Callable[[], Awaitable[Will | None] | Will | None]


# The last three stand for one version each; some builds of Python lack their names.
_TLS_VERSIONS: Final = (None, ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT, 3, 4, 5)


@dataclass(frozen=True)
class TLSParameters:
    """The parameters of a TLS connection.

    The files are read for each connection, outside the event loop.

    Args:
        ca_certs: Path of the certificates to trust; ``None``: the system's.
        certfile: Path of the client's certificate; ``None``: none.
        keyfile: Path of its private key; ``None``: it is in `certfile`.
        cert_reqs: Whether the broker must show a valid certificate; ``None``:
            `ssl.CERT_REQUIRED`.
        tls_version: `ssl.PROTOCOL_TLSv1_2` for this version alone, or another protocol
            constant of `ssl`; ``None``: TLS 1.2 and newer.
        ciphers: OpenSSL's cipher list; ``None``: the default.
        keyfile_password: The private key's password; ``None``: not encrypted.
        alpn_protocols: The names of the protocols to offer (ALPN, RFC 7301), the
            preferred one first; ``None``: no offer. Brokers that share port 443 with
            other services need one, such as ``["x-amzn-mqtt-ca"]`` for AWS IoT Core.

    Raises:
        ValueError: A value is none of those that there are, or a name in
            `alpn_protocols` is empty, too long or not ASCII.
        TypeError: A value has a wrong type.
    """

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: ssl.VerifyMode | None = None
    tls_version: int | None = None
    ciphers: str | None = None
    keyfile_password: str | None = field(default=None, repr=False)
    alpn_protocols: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("ca_certs", "certfile", "keyfile"):
            check_type(name, getattr(self, name), str, PathLike, type(None))
        check_type("ciphers", self.ciphers, str, type(None))
        check_type("keyfile_password", self.keyfile_password, str, bytes, type(None))
        if self.cert_reqs not in (None, *ssl.VerifyMode):
            msg = (
                "cert_reqs must be ssl.CERT_NONE, ssl.CERT_OPTIONAL or"
                f" ssl.CERT_REQUIRED, not {self.cert_reqs!r}"
            )
            raise ValueError(msg)
        if self.tls_version not in _TLS_VERSIONS:
            msg = (
                "tls_version must be a constant of ssl for clients, such as"
                f" ssl.PROTOCOL_TLS_CLIENT, not {self.tls_version!r}: to choose the"
                " lowest version, pass a tls_context with its minimum_version"
            )
            raise ValueError(msg)
        if self.alpn_protocols is not None:
            # A tuple, so that the parameters have a hash and can't change.
            names = _to_alpn_names(self.alpn_protocols)
            object.__setattr__(self, "alpn_protocols", names)


def _to_alpn_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of protocols as a tuple, after checking them."""
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        msg = f"alpn_protocols must be a list of names, such as ['mqtt'], not {names!r}"
        raise TypeError(msg)
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            msg = f"alpn_protocols must hold str, not {type(name).__name__}"
            raise TypeError(msg)
        if not name.isascii() or not 0 < len(name) <= 255:
            msg = (
                f"alpn_protocols must hold names of 1 to 255 ASCII characters, not"
                f" {name!r}"
            )
            raise ValueError(msg)
    return found
