"""The TLS context of a connection."""

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any, Final

from aiomqtt.types import TLSContextLike, TLSParameters

from .callables import CallableError
from .cancellation import tell_cancellations_apart
from .explain import explain
from .interruption import waiting

# The versions that the deprecated constants PROTOCOL_TLSv1, TLSv1_1 and TLSv1_2 stand
# for; creating the context does not use the constants. For TLS 1.0 and 1.1 `ssl` warns
# all the same.
_ONE_VERSION: Final = {
    3: ssl.TLSVersion.TLSv1,
    4: ssl.TLSVersion.TLSv1_1,
    5: ssl.TLSVersion.TLSv1_2,
}
# OpenSSL's reasons to refuse a certificate of the client itself.
_TOO_WEAK: Final = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class UnusableFileError(ssl.SSLError):
    """A file or another parameter for TLS has contents that can't be used."""


def make_context(parameters: TLSParameters) -> ssl.SSLContext:
    """Create a context from parameters. It reads files, so it blocks.

    Raises:
        OSError: A file can't be read, or holds no certificate (ssl.SSLError); the
            message names the argument.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    version = _ONE_VERSION.get(parameters.tls_version or 0)
    if version is not None:
        context.minimum_version = context.maximum_version = version
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
        try:
            context.set_ciphers(parameters.ciphers)
        except ssl.SSLError as error:
            msg = f"ciphers {parameters.ciphers!r} has no cipher that OpenSSL knows"
            raise UnusableFileError(error.errno, msg) from error
    if parameters.alpn_protocols:
        context.set_alpn_protocols(list(parameters.alpn_protocols))
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
            raise UnusableFileError(ssl.SSL_ERROR_SSL, msg)
        return parameters.keyfile_password

    try:
        # Without a password, OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(certfile, keyfile, password)
    except UnusableFileError:
        raise
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            # Perhaps just one of the two files has been renewed: no final error.
            msg = f"the key in {key!r} does not belong to certfile {certfile!r}"
            raise ssl.SSLError(error.errno, msg) from error
        if error.reason in _TOO_WEAK:
            msg = (
                f"certfile {certfile!r} is too weak for OpenSSL ({error.reason}): renew"
                " it with a longer key and a newer signature"
            )
        elif was_asked:
            msg = f"the key in {key!r} can't be decrypted: is keyfile_password right?"
        else:
            msg = f"certfile {certfile!r} holds no certificate, or {key!r} no key"
        raise UnusableFileError(error.errno, msg) from error


def _check_readable(argument: str, path: str) -> None:
    """Raise OSError for a file that can't be read: `ssl` does not name the file."""
    try:
        with open(path, "rb"):  # noqa: PTH123 - importing pathlib is slow
            pass
    except OSError as error:
        said = f"the file of {argument} can't be read: {error.strerror}"
        raise type(error)(error.errno, said, path) from error


def _unusable(argument: str, path: str, error: ssl.SSLError) -> UnusableFileError:
    return UnusableFileError(error.errno, f"{argument} {path!r} holds no certificate")


async def load_context(
    context: TLSContextLike | None,
    parameters: TLSParameters | None,
    insecure: bool,
) -> ssl.SSLContext | None:
    """Return the context for a connection, or None for one without TLS.

    Files are read outside the event loop, for each connection again.

    Args:
        context: A context from the program, a callable that returns one, or None.
        parameters: The parameters for a new context, or None.
        insecure: Whether to skip the check of the broker's name in its certificate. It
            also changes the program's own context.

    Raises:
        OSError: A file can't be read, or has the wrong contents.
        CallableError: The callable raised an exception.
        TypeError: The callable returned something else than a context.
    """
    if context is None:
        if parameters is None:
            return None
        found = await asyncio.to_thread(make_context, parameters)
    elif isinstance(context, ssl.SSLContext):
        found = context
    else:
        found = await _call(context)
    if insecure:
        found.check_hostname = False
    return found


async def _call(function: Callable[[], Any]) -> ssl.SSLContext:
    """Return the context from a callable of the program.

    A plain function runs in a thread: creating a context reads files.
    """
    try:
        missing = "the callable for tls_context did not return"
        with waiting(missing), tell_cancellations_apart():
            if inspect.iscoroutinefunction(function):
                made = await function()
            else:
                made = await asyncio.to_thread(function)
                if inspect.isawaitable(made):
                    made = await made
    except Exception as error:
        msg = f"the callable for tls_context raised {type(error).__name__}"
        # Other texts may hold a secret, such as a token for the certificates' server.
        if isinstance(error, OSError):
            msg += f": {explain(error)}"
        raise CallableError(msg) from error
    if not isinstance(made, ssl.SSLContext):
        msg = (
            "the callable for tls_context must return an SSLContext, not"
            f" {type(made).__name__}"
        )
        raise TypeError(msg)
    return made
