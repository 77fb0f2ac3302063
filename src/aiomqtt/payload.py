"""What a program may give as a payload, and its bytes."""

from typing import TypeAlias

PayloadType: TypeAlias = str | bytes | bytearray | int | float | None


def encode_text(name: str, text: str) -> bytes:
    """Return the UTF-8 of an argument.

    Raises:
        ValueError: It holds a lone surrogate. The text is not repeated, as it may be
            a secret.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        msg = f"{name} must be well-formed UTF-8: it holds a surrogate"
        raise ValueError(msg) from None


def encode_payload(payload: PayloadType) -> bytes:
    """Return the bytes of a payload; numbers become their decimal text.

    Raises:
        TypeError: The payload is of a type that has no encoding.
        ValueError: A str holds a lone surrogate, which UTF-8 cannot say.
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
