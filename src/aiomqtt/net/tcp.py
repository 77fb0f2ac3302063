"""Connecting by TCP, with or without TLS: first dialing, then TLS."""

import asyncio
from collections.abc import Callable

from aiomqtt.exceptions import MqttError

from .buffers import keep_large_blocks
from .dial import dial
from .explain import explain, explain_handshake
from .target import TcpTarget
from .tls import load_context


async def open_tcp(target: TcpTarget, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect a protocol to a target; return when TLS is established, too.

    A cancellation or an error leaves no socket behind, unless the protocol already has
    its transport: then the protocol must close it.

    Raises:
        MqttError: The connection failed; the message names the target and the reason,
            `__cause__` is the OSError or ssl.SSLError.
    """
    keep_large_blocks()
    loop = asyncio.get_running_loop()
    describe_error = explain
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
            describe_error = explain_handshake
        # From now on the transport closes the socket, whatever happens.
        await loop.create_connection(
            factory,
            sock=sock,
            ssl=context,
            server_hostname=target.tls_name if context is not None else None,
        )
    # UnicodeError: a host name that can't be encoded for the resolver.
    except (OSError, UnicodeError) as error:
        msg = f"Could not connect to {target}: {describe_error(error)}"
        raise MqttError(msg) from error
