"""The proxy of a client, as a program gives it."""

from typing import Final, Literal, Self

from .argument_checks import check_range, check_type
from .payload import encode_text

SOCKS4: Final = 1
SOCKS5: Final = 2
HTTP: Final = 3
TYPES: Final = {"SOCKS4": SOCKS4, "SOCKS5": SOCKS5, "HTTP": HTTP}


class ProxySettings:
    """A proxy to connect through; requires ``pip install "aiomqtt[proxy]"``.

    Args:
        proxy_type: 1: SOCKS4, 2: SOCKS5, 3: HTTP with its method CONNECT (the numbers
            of PySocks).
        proxy_addr: The proxy's host name or address.
        proxy_rdns: Whether the proxy resolves the broker's name; ``False`` or ``None``:
            the client resolves it.
        proxy_username: The user name for the proxy, in SOCKS4 the user ID; ``None`` or
            "": none.
        proxy_password: The password for the proxy; ``None`` or "": none. SOCKS4 has
            no password.
        proxy_port: The proxy's port; ``None``: 1080, for HTTP 8080.

    Attributes:
        proxy_args: The arguments.
        no_proxy: The hosts to connect to without the proxy, in the form of the
            variable NO_PROXY; "": none.

    Raises:
        ValueError: An argument violates a rule; the message names both.
        TypeError: An argument has a wrong type; the message names it.
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
        check_type("proxy_type", proxy_type, int)
        if proxy_type not in TYPES.values():
            msg = (
                "proxy_type must be 1 (SOCKS4), 2 (SOCKS5) or 3 (HTTP),"
                f" not {proxy_type}"
            )
            raise ValueError(msg)
        _check_address(proxy_addr)
        check_type("proxy_rdns", proxy_rdns, bool, int, type(None))
        _check_credentials(proxy_type, proxy_username, proxy_password)
        if proxy_port is not None:
            check_range("proxy_port", proxy_port, 1)
        self.proxy_args: dict[str, str | int | None] = {
            "proxy_type": proxy_type,
            "proxy_addr": proxy_addr,
            "proxy_rdns": proxy_rdns,
            "proxy_username": proxy_username,
            "proxy_password": proxy_password,
            "proxy_port": proxy_port,
        }
        self.no_proxy = ""

    @classmethod
    def from_environment(
        cls, scheme: Literal["mqtt", "mqtts", "ws", "wss"] = "mqtt"
    ) -> Self | None:
        """Return the proxy that environment variables name, by the rules of curl.

        The first of these variables that is not empty has the proxy's URL, such as
        ``socks5h://user:password@proxy.example:1080``:

        - for "mqtt": ``mqtt_proxy``, ``MQTT_PROXY``, ``all_proxy``, ``ALL_PROXY``;
        - for "mqtts" the same with ``mqtts_proxy``;
        - for "ws": ``ws_proxy``, ``WS_PROXY``, ``http_proxy``, ``all_proxy``,
          ``ALL_PROXY``;
        - for "wss": ``wss_proxy``, ``WSS_PROXY``, ``https_proxy``, ``HTTPS_PROXY``,
          ``all_proxy``, ``ALL_PROXY``.

        The schemes are http, socks4 (or socks) and socks5, where the client resolves
        the broker's name, and socks4a and socks5h, where the proxy does. Without a
        scheme it is http, and without a port 1080. The client connects directly to
        the hosts in ``no_proxy`` or else ``NO_PROXY``.

        Args:
            scheme: The scheme of the connection.

        Returns:
            The proxy; ``None``: no variable is set.

        Raises:
            ValueError: A variable is malformed; the message names it, without its
                value.
        """
        # Most programs never need it.
        import os

        from .proxy_environment import read_environment

        found = read_environment(os.environ, scheme)
        if found is None:
            return None
        try:
            settings = cls(proxy_type=TYPES[found.kind], **found.arguments)
        except ValueError as error:
            msg = f"{found.variable}: {error}"
            raise ValueError(msg) from None
        settings.no_proxy = found.no_proxy
        return settings

    def __repr__(self) -> str:
        """Return the call that makes it, without the password."""
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in self.proxy_args.items()
            if name != "proxy_password" and value is not None
        )
        return f"ProxySettings({shown})"


def _check_address(address: str) -> None:
    """Refuse what is no host; a URL may have a password, so it is not shown."""
    check_type("proxy_addr", address, str)
    rule = "proxy_addr must be a host name or an address"
    if "://" in address or "@" in address:
        msg = (
            f"{rule}, not a URL: the other parts of a URL are proxy_type, proxy_port,"
            " proxy_username and proxy_password"
        )
        raise ValueError(msg)
    name, separator, port = address.partition(":")
    if separator and port.isdecimal():
        msg = f"{rule}, not {address!r}: pass proxy_addr={name!r}, proxy_port={port}"
        raise ValueError(msg)
    if not address or not address.isprintable() or " " in address:
        msg = f"{rule}, not {address!r}"
        raise ValueError(msg)


def _check_credentials(kind: int, username: str | None, password: str | None) -> None:
    """Refuse what this kind of proxy has no room for."""
    check_type("proxy_username", username, str, type(None))
    check_type("proxy_password", password, str, type(None))
    name = encode_text("proxy_username", username or "")
    word = encode_text("proxy_password", password or "")
    msg = ""
    if kind == SOCKS4:
        if word:
            msg = "proxy_password can't be combined with SOCKS4, which has no password"
        elif not name.isascii() or b"\0" in name:
            msg = "proxy_username must be ASCII without a NUL in SOCKS4"
    elif word and not name:
        msg = "proxy_password needs proxy_username"
    elif kind == SOCKS5:
        if name and not word:
            msg = "proxy_username needs proxy_password in SOCKS5"
        elif len(name) > 255 or len(word) > 255:
            msg = "proxy_username and proxy_password have at most 255 bytes in SOCKS5"
    elif b":" in name:
        msg = "proxy_username must not have a colon in HTTP (RFC 7617)"
    if msg:
        raise ValueError(msg)
