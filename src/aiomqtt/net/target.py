"""Targets of a connection: a class for each transport.

Each lists the arguments of `Client` that its transport accepts. They are plain classes,
since dataclasses are slow to import.
"""

from copy import copy
from typing import Any, ClassVar, cast

from aiomqtt.escaping import escape
from aiomqtt.types import (
    SocketOption,
    TLSContextLike,
    TLSParameters,
    WebSocketHeaders,
)


class Target:
    """A place to connect to.

    Attributes:
        transport: The name of the transport.
        arguments: The arguments of `Client`, other than `hostname`, that the transport
            takes.
        place: The meaning of `hostname`, for the error of a wrong one.
        missing: What the transport lacks, for the error of an argument that it does
            not take.
        hostname: The host's name or address, the socket's path, or the broker's name.
        port: The host's port; a transport without ports ignores it.
    """

    transport: ClassVar[str]
    arguments: ClassVar[frozenset[str]] = frozenset()
    place: ClassVar[str] = "a host name or an address"
    missing: ClassVar[str] = ""

    def __init__(self, hostname: str, port: int) -> None:
        self.hostname = hostname
        self.port = port

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port, in the same spelling for the same place."""
        return self.hostname, self.port

    def moved_to(self, hostname: str, port: int) -> "Target":
        """Return a target at another place, with the same options."""
        moved = copy(self)
        moved.hostname = hostname
        moved.port = port
        return moved


class Proxy:
    """A proxy on the way to a host.

    Args:
        scheme: "socks4", "socks5" or "http".
        hostname: Its host name or address.
        port: Its port.
        username: The user name, in SOCKS4 the user ID; "": none.
        password: The password; "": none.
        resolves: Whether the proxy resolves the name of the host; otherwise the client
            does.
        no_proxy: The hosts to connect to directly, in the form of the variable
            NO_PROXY; "": none.
    """

    def __init__(
        self,
        scheme: str,
        hostname: str,
        port: int,
        username: str = "",
        password: str = "",
        resolves: bool = True,
        no_proxy: str = "",
    ) -> None:
        self.scheme = scheme
        self.hostname = hostname
        self.port = port
        self.username = username
        self.password = password
        self.resolves = resolves
        self.no_proxy = no_proxy

    def is_for(self, hostname: str) -> bool:
        """Whether connections to a host go through it."""
        if not self.no_proxy:
            return True
        # Most programs never need it.
        from aiomqtt.proxy_environment import is_exception

        return not is_exception(hostname, self.no_proxy)

    def __str__(self) -> str:
        """Return its address as a URL without credentials, for messages."""
        return f"{self.scheme}://{join_address(self.hostname, self.port)}"


def join_address(hostname: str, port: int) -> str:
    """Return host and port, with brackets around an address of IPv6 (RFC 3986)."""
    return f"[{hostname}]:{port}" if ":" in hostname else f"{hostname}:{port}"


class MemoryTarget(Target):
    """A broker in the same event loop, by its name."""

    transport: ClassVar[str] = "memory"
    missing: ClassVar[str] = "neither a socket nor TLS"

    def __str__(self) -> str:
        """Return the name, for messages."""
        return f"memory:{self.hostname}"


class UnixTarget(Target):
    """A Unix socket, by its path.

    Args:
        hostname: The path.
        port: Ignored.
        socket_options: Arguments of ``socket.setsockopt``.
    """

    transport: ClassVar[str] = "unix"
    arguments: ClassVar[frozenset[str]] = frozenset(("socket_options",))
    place: ClassVar[str] = "the path of a socket"
    missing: ClassVar[str] = "neither TLS, a local address nor a proxy"

    def __init__(
        self,
        hostname: str,
        port: int,
        socket_options: tuple[SocketOption, ...] = (),
    ) -> None:
        super().__init__(hostname, port)
        self.socket_options = socket_options

    def __str__(self) -> str:
        """Return the path, for messages."""
        return f"unix:{escape(self.hostname)}"


class TcpTarget(Target):
    """A host and a port, with or without TLS.

    Args:
        hostname: The host's name or address.
        port: The host's port.
        bind_address: The local address; "": the system chooses.
        bind_port: The local port; 0: the system chooses.
        socket_options: Arguments of ``socket.setsockopt``.
        tls_context: The context for TLS, a callable that returns it, or None.
        tls_params: The parameters for a new context, or None.
        tls_insecure: Whether to accept a certificate with another name.
        server_hostname: The name that the certificate must have; None: the host's.
        proxy: The proxy to connect through, with its exceptions; None: none.
    """

    transport: ClassVar[str] = "tcp"
    arguments: ClassVar[frozenset[str]] = frozenset(
        (
            "port",
            "bind_address",
            "bind_port",
            "socket_options",
            "tls_context",
            "tls_params",
            "tls_insecure",
            "server_hostname",
            "proxy",
        )
    )

    def __init__(
        self,
        hostname: str,
        port: int,
        bind_address: str = "",
        bind_port: int = 0,
        socket_options: tuple[SocketOption, ...] = (),
        tls_context: TLSContextLike | None = None,
        tls_params: TLSParameters | None = None,
        tls_insecure: bool = False,
        server_hostname: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(hostname, port)
        self.bind_address = bind_address
        self.bind_port = bind_port
        self.socket_options = socket_options
        self.tls_context = tls_context
        self.tls_params = tls_params
        self.tls_insecure = tls_insecure
        self.server_hostname = server_hostname
        self._proxy = proxy

    @property
    def proxy(self) -> Proxy | None:
        """The proxy on the way to the host, or None; another host may have another."""
        proxy = self._proxy
        return proxy if proxy is not None and proxy.is_for(self.hostname) else None

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port, in the same spelling for the same place."""
        # Names have no case, and may end in a dot (RFC 4343, RFC 1034 §3.1).
        return self.hostname.lower().rstrip("."), self.port

    def moved_to(self, hostname: str, port: int) -> "TcpTarget":
        """Return a target at another place, with the same options."""
        return cast("TcpTarget", super().moved_to(hostname, port))

    @property
    def tls_name(self) -> str:
        """The name to verify and to send as SNI, which has no trailing dot."""
        return (self.server_hostname or self.hostname).rstrip(".")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls_context is not None or self.tls_params is not None

    @property
    def way(self) -> str:
        """The end of messages about the address: through which proxy."""
        proxy = self.proxy
        return "" if proxy is None else f" through {proxy}"

    def __str__(self) -> str:
        """Return host and port, for messages."""
        return f"{join_address(self.hostname, self.port)}{self.way}"


class ServiceTarget(TcpTarget):
    """A domain whose brokers the DNS names, with SRV records (RFC 2782).

    It can't be connected to itself.
    """

    place: ClassVar[str] = "a domain"

    @property
    def address(self) -> tuple[str, int]:
        """The domain, in the same spelling for the same one."""
        return f"srv:{self.hostname.lower().rstrip('.')}", self.port

    def at(self, hostname: str, port: int) -> TcpTarget:
        """Return the target of a broker that the DNS named.

        Its certificate must have the name of the domain, and not the name that the DNS
        gave: a forged answer could name any host (RFC 6125 §6.2.1, RFC 9525 §6.1).
        """
        target = self.moved_to(hostname, port)
        target.server_hostname = self.server_hostname or self.hostname
        return target

    def moved_to(self, hostname: str, port: int) -> TcpTarget:
        """Return the target of another server, with the same options."""
        target = TcpTarget(hostname, port)
        target.__dict__.update(self.__dict__, hostname=hostname, port=port)
        return target

    @property
    def service(self) -> str:
        """The name of the SRV records."""
        service = "_secure-mqtt" if self.uses_tls else "_mqtt"
        return f"{service}._tcp.{self.hostname.rstrip('.')}"

    def __str__(self) -> str:
        """Return the name of the SRV records, for messages."""
        return escape(self.service)


class WebSocketTarget(TcpTarget):
    """A host, a port and a path, for WebSocket with or without TLS.

    Args:
        websocket_path: The path, and the query if there is one.
        websocket_headers: Headers that replace and extend the default ones, or a
            callable that takes these and returns all; None: the default ones.
        options: The arguments of `TcpTarget`.
    """

    transport: ClassVar[str] = "websockets"
    arguments: ClassVar[frozenset[str]] = TcpTarget.arguments | frozenset(
        ("websocket_path", "websocket_headers")
    )

    def __init__(
        self,
        hostname: str,
        port: int,
        websocket_path: str = "/mqtt",
        websocket_headers: WebSocketHeaders | None = None,
        **options: Any,
    ) -> None:
        super().__init__(hostname, port, **options)
        self.websocket_path = websocket_path
        self.websocket_headers = websocket_headers

    @property
    def shown_path(self) -> str:
        """The path without its query, which may have credentials."""
        return self.websocket_path.partition("?")[0]

    def __str__(self) -> str:
        """Return the address as a URL, for messages."""
        scheme = "wss" if self.uses_tls else "ws"
        address = join_address(self.hostname, self.port)
        return f"{scheme}://{address}{escape(self.shown_path)}{self.way}"
