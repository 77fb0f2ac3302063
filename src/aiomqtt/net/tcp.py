"""Opening a TCP connection, with or without TLS."""

import asyncio
from collections.abc import Callable

from aiomqtt.exceptions import MqttError

from .dial import dial
from .explain import explain, explain_handshake
from .reading import ease_reading
from .target import Target
from .tls import load_context


async def open_tcp(target: Target, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect a protocol to a target; returns when TLS is established too.

    When cancelled, or on an error, no socket is left behind, unless the protocol
    has its transport already: then it is the protocol's to close.

    Raises:
        MqttError: It failed; the message says to where and why, `__cause__` is the
            OSError or ssl.SSLError.
    """
    ease_reading()
    loop = asyncio.get_running_loop()
    # What turns a failure into words.
    tell = explain
    try:
        context = await load_context(
            target.tls_context, target.tls_params, target.tls_insecure
        )
        sock = await dial(
            target.hostname,
            target.port,
            target.bind_address,
            target.bind_port,
            target.socket_options,
        )
        if context is not None:
            tell = explain_handshake
        # From here on the socket is the transport's to close, whatever happens.
        await loop.create_connection(
            factory,
            sock=sock,
            ssl=context,
            server_hostname=target.tls_name if context is not None else None,
        )
    # UnicodeError: a host name that can't be encoded for the resolver.
    except (OSError, UnicodeError) as error:
        msg = f"Could not connect to {target}: {tell(error)}"
        raise MqttError(msg) from error
