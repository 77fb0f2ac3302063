"""The TLS context of a connection."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

from aiomqtt.types import TLSParameters

# The versions that the deprecated constants stand for; creating the context does not
# use the constants. For TLS 1.0 and 1.1 `ssl` warns all the same.
_ONE_VERSION: Final = {
    "PROTOCOL_TLSv1": ssl.TLSVersion.TLSv1,
    "PROTOCOL_TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "PROTOCOL_TLSv1_2": ssl.TLSVersion.TLSv1_2,
}


def make_context(parameters: TLSParameters) -> ssl.SSLContext:
    """Create a context from parameters. It reads files, so it blocks.

    Raises:
        OSError: A file can't be read, or holds no certificate (ssl.SSLError); the
            message names the argument.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    version = getattr(parameters.tls_version, "name", None)
    if version in _ONE_VERSION:
        context.minimum_version = context.maximum_version = _ONE_VERSION[version]
    if parameters.cert_reqs is not None:
        context.check_hostname = parameters.cert_reqs != ssl.CERT_NONE
        context.verify_mode = parameters.cert_reqs
    if parameters.certfile is not None:
        _load_certificate(context, parameters.certfile, parameters)
    if parameters.ca_certs is not None:
        _check_readable("ca_certs", parameters.ca_certs)
        try:
            context.load_verify_locations(parameters.ca_certs)
        except ssl.SSLError as error:
            raise _unusable("ca_certs", parameters.ca_certs, error) from error
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs()
    if parameters.ciphers is not None:
        context.set_ciphers(parameters.ciphers)
    return context


def _load_certificate(
    context: ssl.SSLContext, certfile: str, parameters: TLSParameters
) -> None:
    """Load the client's certificate and its key.

    Raises:
        OSError: A file can't be read, or has the wrong contents.
    """
    _check_readable("certfile", certfile)
    keyfile = parameters.keyfile
    if keyfile is not None:
        _check_readable("keyfile", keyfile)
    key = certfile if keyfile is None else keyfile
    was_asked = False

    def password() -> str:
        nonlocal was_asked
        was_asked = True
        if parameters.keyfile_password is None:
            msg = f"the key in {key!r} is encrypted: pass its keyfile_password"
            raise OSError(msg)
        return parameters.keyfile_password

    try:
        # Without a password, OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(certfile, keyfile, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            msg = f"the key in {key!r} does not belong to certfile {certfile!r}"
        elif was_asked:
            msg = f"the key in {key!r} can't be decrypted: is keyfile_password right?"
        else:
            msg = f"certfile {certfile!r} holds no certificate, or {key!r} no key"
        raise ssl.SSLError(error.errno, msg) from error


def _check_readable(argument: str, path: str) -> None:
    """Raise OSError for a file that can't be read: `ssl` does not name the file."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        said = f"the file of {argument} can't be read: {error.strerror}"
        raise type(error)(error.errno, said, path) from error


def _unusable(argument: str, path: str, error: ssl.SSLError) -> ssl.SSLError:
    return ssl.SSLError(error.errno, f"{argument} {path!r} holds no certificate")


async def load_context(
    context: ssl.SSLContext | None,
    parameters: TLSParameters | None,
    insecure: bool,
) -> ssl.SSLContext | None:
    """Return the context for a connection, or None for one without TLS.

    Files are read outside the event loop, for each connection again.

    Args:
        context: A context from the program, or None.
        parameters: The parameters for a new context, or None.
        insecure: Whether to skip the check of the broker's name in its certificate. It
            also changes the program's own context.
    """
    if context is None and parameters is not None:
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, make_context, parameters)
    if context is not None and insecure:
        context.check_hostname = False
    return context
