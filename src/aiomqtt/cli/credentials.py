"""Read passwords and keys from files and the environment, never the command line.

The list of processes and the shell's history show a command line to others. No error
shows the contents of a file, nor its name, which may be a misplaced password.
"""

import argparse
import os
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

VARIABLE: Final = "AIOMQTT_PASSWORD"


class RefusePassword(argparse.Action):
    """An option that refuses a password and names the ways to pass one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Report the error, without the value."""
        parser.error(
            "a password does not belong on the command line, where others can see it:"
            f" use --password-file, or {VARIABLE} in the environment"
        )


def read_credentials(
    username: str | None, password_file: Path | None, credentials: Path | None
) -> dict[str, str] | None:
    """Return the passwords by user name, or None if there are no credentials.

    Args:
        username: A user whose password is in a file or in the environment.
        password_file: The file with the password; ``None``: the environment.
        credentials: A file with lines of ``user:password``. Empty lines, and lines that
            begin with "#", are ignored.

    Raises:
        ValueError: An option is wrong; the message names it.
    """
    found: dict[str, str] = {}
    if credentials is not None:
        for number, line in _lines("--credentials", credentials):
            if not line or line.startswith("#"):
                continue
            name, colon, word = line.partition(":")
            where = f"--credentials, line {number}"
            if not colon or not name or not word:
                msg = f"{where}: expected user:password"
                raise ValueError(msg)
            if name in found:
                msg = f"{where}: this user already has a password"
                raise ValueError(msg)
            found[name] = word
    if username is not None:
        if username in found:
            msg = "--username: this user has a password in --credentials"
            raise ValueError(msg)
        found[username] = _password(password_file)
    elif password_file is not None:
        msg = "--password-file needs --username"
        raise ValueError(msg)
    return None if username is None and credentials is None else found


def _password(file: Path | None) -> str:
    if file is not None:
        word = next((line for _, line in _lines("--password-file", file)), "")
        if not word:
            msg = "--password-file: its first line is empty"
            raise ValueError(msg)
        return word
    word = os.environ.get(VARIABLE, "")
    if not word:
        msg = f"--username needs --password-file, or {VARIABLE} in the environment"
        raise ValueError(msg)
    return word


def _lines(option: str, file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers."""
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        msg = f"{option}: {error.strerror}"
        raise ValueError(msg) from None
    except UnicodeDecodeError:
        msg = f"{option}: the file is not UTF-8"
        raise ValueError(msg) from None
    yield from enumerate(text.split("\n"), 1)


def make_tls_context(
    certificate: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """Return the ssl.SSLContext of a server, or None without TLS.

    Args:
        certificate: The file with the certificate and its chain.
        key: The file with the private key; ``None``: the same file.

    Raises:
        ValueError: An option is wrong; the message names it.
    """
    if certificate is None:
        if key is not None:
            msg = "--tls-key needs --tls-certificate"
            raise ValueError(msg)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # OpenSSL does not say which of the two files it can't read.
        option = "--tls-certificate"
        certificate.open("rb").close()
        if key is not None:
            option = "--tls-key"
            key.open("rb").close()
            option = "--tls-certificate, --tls-key"
        context.load_cert_chain(certificate, key, _no_password)
    except ssl.SSLError as error:
        msg = f"{option}: {error.reason or error}"
        raise ValueError(msg) from None
    except OSError as error:
        msg = f"{option}: {error.strerror}"
        raise ValueError(msg) from None
    return context


def _no_password() -> str:
    """Refuse an encrypted key; otherwise OpenSSL would ask for its password."""
    msg = "--tls-key: the key is encrypted"
    raise ValueError(msg)
