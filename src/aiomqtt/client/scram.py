"""Authentication of a client by SCRAM-SHA-256 (RFC 5802, RFC 7677)."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from typing import Final

from aiomqtt.argument_checks import check_type
from aiomqtt.exceptions import MqttError
from aiomqtt.protocol.scram import (
    MINIMUM_ITERATIONS,
    NONCE_BYTES,
    SCRAM_SHA_256,
    ClientExchange,
    Keys,
    ScramError,
    derive_keys,
    encode_nonce,
    saslprep,
)

# About a quarter of a second of a processor: a broker must not ask for more.
MAXIMUM_ITERATIONS: Final = 1_000_000


class ScramSha256:
    """Authenticates a client by SCRAM-SHA-256, as the `authenticator` of a `Client`.

    The password does not leave the program, and the broker has to prove that it knows
    the user, too. Without TLS an eavesdropper can still try out passwords. Channel
    binding (SCRAM-SHA-256-PLUS) is left out.

    The keys, which take time to compute, are computed in a thread, and kept for the
    next connection.

    Args:
        username: The user name.
        password: The password.
        maximum_iterations: The highest iteration count that a broker may ask for. The
            lowest is 4096 (RFC 7677 §4).
        nonce_source: Returns a new nonce, printable ASCII without commas; ``None``: 18
            random bytes, as Base64.

    Raises:
        ValueError: SASLprep (RFC 4013) does not allow user name or password, such as
            control characters or, in a password, emoji; or the maximum is below 4096.
        TypeError: An argument has a wrong type.
    """

    method: str = SCRAM_SHA_256

    def __init__(
        self,
        username: str,
        password: str,
        *,
        maximum_iterations: int = MAXIMUM_ITERATIONS,
        nonce_source: Callable[[], str] | None = None,
    ) -> None:
        check_type("username", username, str)
        check_type("password", password, str)
        check_type("maximum_iterations", maximum_iterations, int)
        if maximum_iterations < MINIMUM_ITERATIONS:
            msg = f"maximum_iterations must be at least {MINIMUM_ITERATIONS}"
            raise ValueError(msg)
        self._username = saslprep(username, "username", is_stored=False)
        self._password = saslprep(password, "password", is_stored=True)
        self._maximum = maximum_iterations
        self._nonce_source = nonce_source
        # The last keys, with the salt and the iteration count.
        self._kept: tuple[bytes, int, Keys] | None = None

    def __repr__(self) -> str:
        """Return the user name, without the password."""
        return f"ScramSha256({self._username!r})"

    async def authenticate(self) -> AsyncGenerator[bytes, bytes | None]:
        """Authenticate the client once; see `Authenticator.authenticate`.

        Raises:
            MqttError: The broker's messages are wrong, or its proof.
        """
        source = self._nonce_source
        nonce = encode_nonce(os.urandom(NONCE_BYTES)) if source is None else source()
        exchange = ClientExchange(self._username, nonce)
        try:
            message = yield exchange.first()
            first = exchange.read_first(message, self._maximum)
            keys = await self._keys(first.salt, first.iterations)
            message = yield exchange.final(keys)
            exchange.verify(message, keys)
        except ScramError as error:
            msg = f"the broker is not authenticated by SCRAM: {error}"
            raise MqttError(msg) from None
        self._kept = first.salt, first.iterations, keys

    async def _keys(self, salt: bytes, iterations: int) -> Keys:
        kept = self._kept
        if kept is not None and kept[:2] == (salt, iterations):
            return kept[2]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            None, derive_keys, self._password, salt, iterations
        )
