"""The headers and the path of the WebSocket handshake, as programs give them."""

import re
from collections.abc import Mapping
from typing import Final

from aiomqtt.net.callables import CallableError
from aiomqtt.types import WebSocketHeaders

# The name of a header (RFC 9110 §5.6.2).
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Its value (RFC 9110 §5.5), in Latin-1.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def to_headers(default: dict[str, str], given: WebSocketHeaders) -> dict[str, str]:
    """Return the headers of the request.

    Args:
        default: The default headers.
        given: Headers that replace and extend these, or a callable that takes the
            default headers and returns all.

    Raises:
        CallableError: The callable raised an exception.
        TypeError: The callable returned something else than a dict of str.
        ValueError: A name or a value has characters that a header can't have.
    """
    if not callable(given):
        check_headers(given)
        names = {name.lower() for name in given}
        kept = {name: default[name] for name in default if name.lower() not in names}
        return {**kept, **given}
    try:
        made = given(default)
    except Exception as error:
        # The text of the exception is left out: it may hold a secret.
        msg = f"the callable for websocket_headers raised {type(error).__name__}"
        raise CallableError(msg) from error
    check_headers(made)
    return made


def check_headers(headers: object) -> None:
    """Refuse headers that can't be sent; the message has no value, which is secret.

    Raises:
        TypeError: It is not a dict of str.
        ValueError: A name or a value has characters that a header can't have.
    """
    if not isinstance(headers, Mapping):
        msg = f"websocket_headers must be a dict, not {type(headers).__name__}"
        raise TypeError(msg)
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            msg = f"websocket_headers must be str, and the value of {name!r} is not"
            raise TypeError(msg)
        if not _NAME.fullmatch(name):
            msg = f"websocket_headers: {name!r} can't be the name of a header"
            raise ValueError(msg)
        if not _VALUE.fullmatch(value):
            msg = (
                f"websocket_headers: the value of {name!r} has line breaks or other"
                " characters that a header can't have"
            )
            raise ValueError(msg)


def check_path(path: object) -> str:
    """Return the path of the request, which begins with a slash.

    Raises:
        TypeError: It is not a str.
        ValueError: It has white space, control characters or a fragment.
    """
    if not isinstance(path, str):
        msg = f"websocket_path must be str or None, not {type(path).__name__}"
        raise TypeError(msg)
    if not path.isprintable() or " " in path or "#" in path:
        # The query may have a token, so the message has nothing of it.
        msg = "websocket_path must be a path, without spaces, line breaks and '#'"
        raise ValueError(msg)
    return path if path.startswith("/") else f"/{path}"
