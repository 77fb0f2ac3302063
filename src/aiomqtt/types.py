"""Types of arguments, and the values that configure a client."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

from .paho import PropertiesLike, SubscribeOptionsLike
from .payload import PayloadType
from .topic import TopicLike, WildcardLike

__all__ = [
    "ListOf",
    "PayloadType",
    "PropertiesLike",
    "ProxySettings",
    "Publication",
    "PublicationLike",
    "SocketOption",
    "SubscribeOptionsLike",
    "SubscribeTopic",
    "Subscription",
    "TLSParameters",
    "UnsubscribeTopic",
    "WebSocketHeaders",
    "Will",
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
SubscribeTopic: TypeAlias = Subscription | ListOf[Subscription]
UnsubscribeTopic: TypeAlias = (
    WildcardLike | ListOf[WildcardLike] | tuple[WildcardLike, ...]
)
WebSocketHeaders: TypeAlias = (
    dict[str, str] | Callable[[dict[str, str]], dict[str, str]]
)
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


@dataclass(frozen=True)
class TLSParameters:
    """The parameters of a TLS connection. The files are read when connecting.

    Args:
        ca_certs: Path of the certificates to trust; ``None``: the system's.
        certfile: Path of the client's certificate; ``None``: none.
        keyfile: Path of its private key; ``None``: it is in `certfile`.
        cert_reqs: Whether the broker must show a valid certificate; ``None``:
            `ssl.CERT_REQUIRED`.
        tls_version: A protocol constant of `ssl`; ``None``: TLS 1.2 and newer.
        ciphers: OpenSSL's cipher list; ``None``: the default.
        keyfile_password: The private key's password; ``None``: not encrypted.
    """

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    cert_reqs: ssl.VerifyMode | None = None
    tls_version: int | None = None
    ciphers: str | None = None
    keyfile_password: str | None = field(default=None, repr=False)


class ProxySettings:
    """A proxy to connect through.

    Args:
        proxy_type: 1: SOCKS4, 2: SOCKS5, 3: HTTP (the numbers of PySocks).
        proxy_addr: The proxy's host name or address.
        proxy_rdns: Whether the proxy resolves the broker's name.
        proxy_username: The user name for the proxy; ``None``: none.
        proxy_password: The password for the proxy; ``None``: none.
        proxy_port: The proxy's port; ``None``: the default of its type.
    """

    def __init__(
        self,
        *,
        proxy_type: int,
        proxy_addr: str,
        proxy_rdns: bool | None = True,
        proxy_username: str | None = None,
        proxy_password: str | None = None,
        proxy_port: int | None = None,
    ) -> None:
        self.proxy_args: dict[str, str | int | None] = {
            "proxy_type": proxy_type,
            "proxy_addr": proxy_addr,
            "proxy_rdns": proxy_rdns,
            "proxy_username": proxy_username,
            "proxy_password": proxy_password,
            "proxy_port": proxy_port,
        }
