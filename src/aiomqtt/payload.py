"""Encoding of payloads and texts that a program passes."""

from typing import TypeAlias

PayloadType: TypeAlias = str | bytes | bytearray | int | float | None


def encode_text(name: str, text: str) -> bytes:
    """Return the UTF-8 of an argument.

    Raises:
        ValueError: It holds a lone surrogate. The message leaves out the text, which
            may be a secret.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        msg = f"{name} must be well-formed UTF-8: it holds a surrogate"
        raise ValueError(msg) from None


def encode_payload(payload: PayloadType) -> bytes:
    """Return the bytes of a payload; a number is encoded as its decimal text.

    Raises:
        TypeError: The payload is of a type that has no encoding.
        ValueError: A str holds a lone surrogate, which UTF-8 cannot encode.
    """
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        return encode_text("payload", payload)
    if payload is None:
        return b""
    if isinstance(payload, bytearray):
        return bytes(payload)
    if isinstance(payload, int | float):
        return str(payload).encode()
    msg = (
        "payload must be a str, bytes, bytearray, int, float or None,"
        f" not {type(payload).__name__}"
    )
    raise TypeError(msg)
