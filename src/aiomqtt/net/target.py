"""Where a connection goes, and how."""

import ssl

from aiomqtt.types import SocketOption, TLSParameters


class Target:
    """Where to connect to, and how: a plain class, since others are slow to import.

    Args:
        hostname: The host's name or address; for "memory" the name of the broker.
        port: The host's port.
        transport: "tcp" or "memory".
        bind_address: The local address; "": the system chooses.
        bind_port: The local port; 0: the system chooses.
        socket_options: Arguments of ``socket.setsockopt``.
        tls_context: The context for TLS, or None.
        tls_params: What to make a context of, or None.
        tls_insecure: Do not compare the host's name with the certificate.
        server_hostname: The name that the certificate must have; None: the host's.
    """

    def __init__(
        self,
        hostname: str,
        port: int,
        transport: str = "tcp",
        bind_address: str = "",
        bind_port: int = 0,
        socket_options: tuple[SocketOption, ...] = (),
        tls_context: ssl.SSLContext | None = None,
        tls_params: TLSParameters | None = None,
        tls_insecure: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        """Keep the arguments."""
        self.hostname = hostname
        self.port = port
        self.transport = transport
        self.bind_address = bind_address
        self.bind_port = bind_port
        self.socket_options = socket_options
        self.tls_context = tls_context
        self.tls_params = tls_params
        self.tls_insecure = tls_insecure
        self.server_hostname = server_hostname

    @property
    def tls_name(self) -> str:
        """The name to ask for and to verify (SNI); it has no trailing dot there."""
        return (self.server_hostname or self.hostname).rstrip(".")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls_context is not None or self.tls_params is not None

    def __str__(self) -> str:
        """Return host and port, or what stands for them, for messages."""
        if self.transport == "memory":
            return f"memory:{self.hostname}"
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"
