"""Authentication of the broker's clients by SCRAM-SHA-256 (RFC 5802, RFC 7677)."""

import binascii
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from aiomqtt.protocol.scram import (
    MINIMUM_ITERATIONS,
    NONCE_BYTES,
    SCRAM_SHA_256,
    ScramError,
    ServerExchange,
    derive_keys,
    encode_nonce,
    saslprep,
)
from aiomqtt.standard.names import BAD_AUTHENTICATION_METHOD, NOT_AUTHORIZED

from .hooks import Authentication, Refusal

# RFC 7677 §4: a tenth of a second of the machines of 2015. Small devices take longer.
DEFAULT_ITERATIONS: Final = 15_000
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32


@dataclass(frozen=True)
class ScramCredentials:
    """What a broker keeps of a password for SCRAM-SHA-256 (RFC 5802 §3).

    Whoever has it can try out passwords, and can pretend to be the broker, but can't
    log in with it.

    Args:
        salt: The salt, of at least one byte.
        iterations: The iteration count, 4096 or more.
        stored_key: The stored key, 32 bytes.
        server_key: The server key, 32 bytes.

    Raises:
        ValueError: A field has a wrong size.
    """

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Check the sizes."""
        if not self.salt or self.iterations < MINIMUM_ITERATIONS:
            msg = f"there must be a salt, and at least {MINIMUM_ITERATIONS} iterations"
            raise ValueError(msg)
        if len(self.stored_key) != _KEY_BYTES or len(self.server_key) != _KEY_BYTES:
            msg = f"stored_key and server_key must have {_KEY_BYTES} bytes"
            raise ValueError(msg)

    @classmethod
    def from_password(
        cls,
        password: str,
        *,
        iterations: int = DEFAULT_ITERATIONS,
        salt: bytes | None = None,
    ) -> Self:
        """Return the credentials of a password; this takes milliseconds, by design.

        Args:
            password: The password.
            iterations: The iteration count: the more, the longer it takes to try out
                passwords, and to connect.
            salt: The salt; ``None``: 16 random bytes.

        Raises:
            ValueError: SASLprep (RFC 4013) does not allow the password, or there are
                fewer than 4096 iterations.
        """
        prepared = saslprep(password, "password", is_stored=True)
        salt = os.urandom(_SALT_BYTES) if salt is None else salt
        keys = derive_keys(prepared, salt, iterations)
        return cls(salt, iterations, keys.stored, keys.server)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the credentials that `to_text` wrote.

        Raises:
            ValueError: The text has another form.
        """
        try:
            method, salted, keys = text.strip().split("$")
            iterations, salt = salted.split(":")
            stored, server = (b64decode(key, validate=True) for key in keys.split(":"))
            if method != SCRAM_SHA_256:
                raise ValueError
            return cls(b64decode(salt, validate=True), int(iterations), stored, server)
        except (ValueError, binascii.Error):
            msg = (
                "the text must be SCRAM-SHA-256$<iterations>:<salt>$<stored key>:"
                "<server key>, the bytes as Base64"
            )
            raise ValueError(msg) from None

    def to_text(self) -> str:
        """Return a line of text to keep in a file, in the form that PostgreSQL uses."""
        salt, stored, server = (
            b64encode(one).decode()
            for one in (self.salt, self.stored_key, self.server_key)
        )
        return f"{SCRAM_SHA_256}${self.iterations}:{salt}${stored}:{server}"


class ScramSha256Accounts:
    """Authenticates clients by SCRAM-SHA-256, as the `enhanced_authentication` hook.

    The user name becomes `ClientInfo.username`. A client that reauthenticates must have
    the same user name. All other clients are refused: with 0x87, or 0x8C for another
    method. Channel binding (SCRAM-SHA-256-PLUS) is left out.

    Args:
        accounts: The credentials by user name, or a coroutine function that is called
            with a user name and returns its credentials or ``None``. User names are as
            SASLprep (RFC 4013) prepares them.
        nonce_source: Returns a new nonce, printable ASCII without commas; ``None``: 18
            random bytes, as Base64.
    """

    method: str = SCRAM_SHA_256

    def __init__(
        self,
        accounts: Mapping[str, ScramCredentials]
        | Callable[[str], Awaitable[ScramCredentials | None]],
        *,
        nonce_source: Callable[[], str] | None = None,
    ) -> None:
        self._accounts = accounts
        self._nonce_source = nonce_source
        # For users that there are not: nobody must learn that there are not.
        self._secret = os.urandom(_KEY_BYTES)
        self._usual_iterations = DEFAULT_ITERATIONS

    async def __call__(self, exchange: Authentication) -> bytes | Refusal:
        """Authenticate a client; see `Broker`."""
        if exchange.method != SCRAM_SHA_256:
            return Refusal(BAD_AUTHENTICATION_METHOD)
        try:
            return await self._authenticate(exchange)
        except ScramError as error:
            return Refusal(NOT_AUTHORIZED, f"SCRAM: {error}")

    async def _authenticate(self, exchange: Authentication) -> bytes:
        source = self._nonce_source
        nonce = encode_nonce(os.urandom(NONCE_BYTES)) if source is None else source()
        scram = ServerExchange(exchange.data, nonce)
        if exchange.is_again and scram.username != exchange.client.username:
            msg = "the user name must stay the same"
            raise ScramError(msg)
        found = await self._find(scram.username)
        answer = await exchange.challenge(scram.first(found.salt, found.iterations))
        final = scram.final(answer, found.stored_key, found.server_key)
        exchange.username = scram.username
        return final

    async def _find(self, username: str) -> ScramCredentials:
        """Return the credentials of a user, or some that no password fits."""
        accounts = self._accounts
        if isinstance(accounts, Mapping):
            found = accounts.get(username)
            first = next(iter(accounts.values()), None)
            usual = self._usual_iterations if first is None else first.iterations
        else:
            found = await accounts(username)
            usual = self._usual_iterations
        if found is not None:
            self._usual_iterations = found.iterations
            return found
        # The same salt for the same name, as for a user that there is.
        salt = hmac.digest(self._secret, username.encode(), "sha256")[:_SALT_BYTES]
        return ScramCredentials(
            salt, usual, os.urandom(_KEY_BYTES), os.urandom(_KEY_BYTES)
        )
