"""Targets of a connection: a class for each transport.

Each lists the arguments of `Client` that its transport accepts. They are plain classes,
since dataclasses are slow to import.
"""

import ssl
from typing import Any, ClassVar

from aiomqtt.escaping import escape
from aiomqtt.types import SocketOption, TLSParameters, WebSocketHeaders


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
        tls_context: The context for TLS, or None.
        tls_params: The parameters for a new context, or None.
        tls_insecure: Whether to accept a certificate with another name.
        server_hostname: The name that the certificate must have; None: the host's.
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
        tls_context: ssl.SSLContext | None = None,
        tls_params: TLSParameters | None = None,
        tls_insecure: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        super().__init__(hostname, port)
        self.bind_address = bind_address
        self.bind_port = bind_port
        self.socket_options = socket_options
        self.tls_context = tls_context
        self.tls_params = tls_params
        self.tls_insecure = tls_insecure
        self.server_hostname = server_hostname

    @property
    def tls_name(self) -> str:
        """The name to verify and to send as SNI, which has no trailing dot."""
        return (self.server_hostname or self.hostname).rstrip(".")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls_context is not None or self.tls_params is not None

    def __str__(self) -> str:
        """Return host and port, for messages."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"


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
        return f"{scheme}://{super().__str__()}{escape(self.shown_path)}"
