"""TLS: the context that a connection is made with."""

import asyncio
import ssl
from typing import Final

from aiomqtt.types import TLSParameters

# The deprecated constants name one version each; a context is made without them. For
# TLS 1.0 and 1.1 `ssl` warns all the same.
_ONE_VERSION: Final = {
    "PROTOCOL_TLSv1": ssl.TLSVersion.TLSv1,
    "PROTOCOL_TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "PROTOCOL_TLSv1_2": ssl.TLSVersion.TLSv1_2,
}


def make_context(parameters: TLSParameters) -> ssl.SSLContext:
    """Make a context of parameters; reads the files, so it blocks.

    Raises:
        OSError: A file can't be read, or holds no certificate (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    version = getattr(parameters.tls_version, "name", None)
    if version in _ONE_VERSION:
        context.minimum_version = context.maximum_version = _ONE_VERSION[version]
    if parameters.cert_reqs is not None:
        context.check_hostname = parameters.cert_reqs != ssl.CERT_NONE
        context.verify_mode = parameters.cert_reqs
    if parameters.certfile is not None:
        context.load_cert_chain(
            parameters.certfile, parameters.keyfile, parameters.keyfile_password
        )
    if parameters.ca_certs is not None:
        context.load_verify_locations(parameters.ca_certs)
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs()
    if parameters.ciphers is not None:
        context.set_ciphers(parameters.ciphers)
    return context


async def load_context(
    context: ssl.SSLContext | None,
    parameters: TLSParameters | None,
    insecure: bool,
) -> ssl.SSLContext | None:
    """Return the context for a connection, or None for one without TLS.

    Files are read off the loop, anew for each connection.

    Args:
        context: A context that the program made, or None.
        parameters: What to make one of, or None.
        insecure: Do not compare the broker's name with its certificate. This holds
            for the program's own context too, which is changed by it.
    """
    if context is None and parameters is not None:
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, make_context, parameters)
    if context is not None and insecure:
        context.check_hostname = False
    return context
