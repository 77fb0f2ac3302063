"""SCRAM (RFC 5802, RFC 7677): the messages and keys of both sides, without I/O.

Channel binding is left out. The password is prepared with SASLprep (RFC 4013); nonces
come from the caller.
"""

import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from aiomqtt.escaping import escape

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
# RFC 7677 §4
MINIMUM_ITERATIONS: Final = 4096
# The number of random bytes of a nonce.
NONCE_BYTES: Final = 18
# The beginning of the client's first message: no channel binding, no other identity.
_GS2_HEADER: Final = "n,,"
_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class ScramError(Exception):
    """A message of the other side is wrong, or its proof is."""


class Keys(NamedTuple):
    """The keys that a password gives with a salt and an iteration count (RFC 5802 §3).

    Attributes:
        client: Proves who the client is; only the client has it.
        stored: Verifies that proof.
        server: Proves who the server is.
    """

    client: bytes
    stored: bytes
    server: bytes

    def __repr__(self) -> str:
        """Return the name only: they are secrets."""
        return "Keys()"


class ServerFirst(NamedTuple):
    """The server's first message."""

    nonce: str
    salt: bytes
    iterations: int


# --- text -------------------------------------------------------------------------


def saslprep(text: str, name: str, *, is_stored: bool) -> str:
    """Return a text as SASLprep prepares it (RFC 4013).

    Args:
        text: The text, which no error shows.
        name: The name of the argument, for errors.
        is_stored: Whether characters that Unicode 3.2 does not have are refused.

    Raises:
        ValueError: The text has characters that are not allowed, or becomes empty.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one
        for one in text
        if not stringprep.in_table_b1(one)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared:
        msg = f"{name} must not be empty, as SASLprep makes it (RFC 4013)"
        raise ValueError(msg)
    if any(is_in(one) for one in prepared for is_in in _PROHIBITED):
        msg = f"{name} must not have control or private characters (RFC 4013 §2.3)"
        raise ValueError(msg)
    if is_stored and any(map(stringprep.in_table_a1, prepared)):
        msg = f"{name} must not have characters that are not in Unicode 3.2, such as"
        msg += " emoji (RFC 4013 §2.5)"
        raise ValueError(msg)
    if any(map(stringprep.in_table_d1, prepared)) and (
        any(map(stringprep.in_table_d2, prepared))
        or not stringprep.in_table_d1(prepared[0])
        or not stringprep.in_table_d1(prepared[-1])
    ):
        msg = f"{name} must not mix directions of writing (RFC 4013 §2.4)"
        raise ValueError(msg)
    return prepared


def encode_name(username: str) -> str:
    """Return a prepared user name as a message carries it (RFC 5802 §5.1)."""
    return username.replace("=", "=3D").replace(",", "=2C")


def decode_name(name: str) -> str:
    """Return the user name that a message carries.

    Raises:
        ScramError: An equals sign is not followed by 2C or 3D.
    """
    plain = name.replace("=2C", "").replace("=3D", "")
    if "=" in plain:
        msg = "the user name is not encoded correctly"
        raise ScramError(msg)
    return name.replace("=2C", ",").replace("=3D", "=")


# --- keys -------------------------------------------------------------------------


def derive_keys(
    password: str, salt: bytes, iterations: int, digest: str = "sha256"
) -> Keys:
    """Return the keys of a prepared password; this takes time, by design."""
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", digest)
    stored = hashlib.new(digest, client).digest()
    return Keys(client, stored, hmac.digest(salted, b"Server Key", digest))


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


# --- messages ---------------------------------------------------------------------


def _attributes(message: bytes | None, what: str, *names: str) -> list[str]:
    """Return the values of the attributes with which a message has to begin.

    Further ones, extensions, are ignored.

    Raises:
        ScramError: It does not begin with these.
    """
    try:
        parts = (message or b"").decode().split(",")
    except UnicodeDecodeError:
        msg = f"{what} is not UTF-8"
        raise ScramError(msg) from None
    if parts[0].startswith("m="):
        msg = f"{what} requires an extension"
        raise ScramError(msg)
    if [part[:2] for part in parts[: len(names)]] != [f"{name}=" for name in names]:
        msg = f"{what} does not begin with {', '.join(names)}"
        raise ScramError(msg)
    return [part[2:] for part in parts[: len(names)]]


def _decoded(text: str, what: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        msg = f"{what} is not Base64"
        raise ScramError(msg) from None


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()


def encode_nonce(random: bytes) -> str:
    """Return random bytes as a nonce."""
    return _encoded(random)


def check_nonce(nonce: str) -> str:
    """Return a nonce; raise ValueError if a message can't carry it."""
    if not nonce or not all("!" <= one <= "~" and one != "," for one in nonce):
        msg = "a nonce must be printable ASCII without commas"
        raise ValueError(msg)
    return nonce


class ClientExchange:
    """The client's side of one authentication.

    Args:
        username: The prepared user name.
        nonce: A nonce that was never used before.
        digest: The hash function.
    """

    def __init__(self, username: str, nonce: str, digest: str = "sha256") -> None:
        self._nonce = check_nonce(nonce)
        self._digest = digest
        self._first_bare = f"n={encode_name(username)},r={nonce}"
        # What both sides sign.
        self._signed = b""

    def first(self) -> bytes:
        """Return the client's first message."""
        return f"{_GS2_HEADER}{self._first_bare}".encode()

    def read_first(self, message: bytes | None, maximum: int) -> ServerFirst:
        """Read the server's first message.

        Args:
            message: The message.
            maximum: The maximum iteration count.

        Raises:
            ScramError: It is wrong, or asks for too few or too many iterations.
        """
        nonce, salt, count = _attributes(message, "its first message", "r", "s", "i")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            msg = "its nonce does not begin with the client's"
            raise ScramError(msg)
        iterations = int(count) if re.fullmatch("[1-9][0-9]{,9}", count) else 0
        if not MINIMUM_ITERATIONS <= iterations <= maximum:
            msg = (
                f"its iteration count must be {MINIMUM_ITERATIONS} to {maximum},"
                f" not {escape(count)[:20]}"
            )
            raise ScramError(msg)
        decoded = _decoded(salt, "its salt")
        if not decoded:
            msg = "its salt is empty"
            raise ScramError(msg)
        assert message is not None
        channel = _encoded(_GS2_HEADER.encode())
        self._without_proof = f"c={channel},r={nonce}"
        self._signed = b",".join(
            (self._first_bare.encode(), message, self._without_proof.encode())
        )
        return ServerFirst(nonce, decoded, iterations)

    def final(self, keys: Keys) -> bytes:
        """Return the client's final message, with its proof."""
        signature = hmac.digest(keys.stored, self._signed, self._digest)
        proof = _encoded(_xor(keys.client, signature))
        return f"{self._without_proof},p={proof}".encode()

    def verify(self, message: bytes | None, keys: Keys) -> None:
        """Verify the server's final message.

        Raises:
            ScramError: The server has refused, or has not proved who it is.
        """
        if message is not None and message.startswith(b"e="):
            [error] = _attributes(message, "its final message", "e")
            msg = f"it refused: {escape(error)[:80]}"
            raise ScramError(msg)
        [value] = _attributes(message, "its final message", "v")
        signature = hmac.digest(keys.server, self._signed, self._digest)
        if not hmac.compare_digest(_decoded(value, "its signature"), signature):
            msg = "its signature is wrong: it does not know the password"
            raise ScramError(msg)


class ServerExchange:
    """The server's side of one authentication.

    Args:
        first: The client's first message.
        nonce: A nonce that was never used before, which is added to the client's.
        digest: The hash function.

    Attributes:
        username: The user name, as SASLprep prepares it.

    Raises:
        ScramError: The message is wrong, or asks for something that is left out.
    """

    def __init__(self, first: bytes | None, nonce: str, digest: str = "sha256") -> None:
        self._digest = digest
        header, self._first_bare = _split_header(first)
        name, own = _attributes(self._first_bare, "the first message", "n", "r")
        try:
            check_nonce(own)
            self.username: str = saslprep(
                decode_name(name), "the user name", is_stored=False
            )
        except ValueError as error:
            raise ScramError(str(error)) from None
        if header[1] not in ("", f"a={name}"):
            msg = "another authorization identity is not supported"
            raise ScramError(msg)
        self._header = f"{header[0]},{header[1]},".encode()
        self._nonce = own + check_nonce(nonce)
        self._first = b""

    def first(self, salt: bytes, iterations: int) -> bytes:
        """Return the server's first message."""
        text = f"r={self._nonce},s={_encoded(salt)},i={iterations}"
        self._first = text.encode()
        return self._first

    def final(self, message: bytes | None, stored: bytes, server: bytes) -> bytes:
        """Verify the client's final message, and return the server's.

        Args:
            message: The client's final message.
            stored: The stored key of the user.
            server: The server key of the user.

        Raises:
            ScramError: The message or the proof in it is wrong.
        """
        channel, nonce = _attributes(message, "the final message", "c", "r")
        assert message is not None
        if _decoded(channel, "the channel binding") != self._header:
            msg = "the channel binding is not that of the first message"
            raise ScramError(msg)
        if not hmac.compare_digest(nonce.encode(), self._nonce.encode()):
            msg = "the nonce is not that of the first message"
            raise ScramError(msg)
        without_proof, separator, encoded = message.rpartition(b",p=")
        if not separator:
            msg = "the final message has no proof"
            raise ScramError(msg)
        signed = b",".join((self._first_bare, self._first, without_proof))
        signature = hmac.digest(stored, signed, self._digest)
        proof = _decoded(encoded.decode(), "the proof")
        if len(proof) != len(signature):
            msg = "the proof has a wrong length"
            raise ScramError(msg)
        client = hashlib.new(self._digest, _xor(proof, signature)).digest()
        if not hmac.compare_digest(client, stored):
            msg = "the proof is wrong"
            raise ScramError(msg)
        return b"v=" + b64encode(hmac.digest(server, signed, self._digest))


def _split_header(first: bytes | None) -> tuple[tuple[str, str], bytes]:
    """Return the header of the client's first message, and the message after it."""
    parts = (first or b"").split(b",", 2)
    if len(parts) < 3 or parts[0] not in (b"n", b"y"):
        msg = "the first message is not one without channel binding"
        raise ScramError(msg)
    try:
        return (parts[0].decode(), parts[1].decode()), parts[2]
    except UnicodeDecodeError:
        msg = "the first message is not UTF-8"
        raise ScramError(msg) from None
