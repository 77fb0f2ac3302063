"""The head of an answer in HTTP: its status line and its headers (RFC 9112)."""

import re
from typing import Final

from aiomqtt.escaping import escape

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r\n")


def parse_status(head: bytes) -> tuple[int, str] | None:
    """Return the status and how messages show it, or None if it is no whole head."""
    found = _STATUS_LINE.match(head)
    if found is None or not head.endswith(b"\r\n\r\n"):
        return None
    phrase = escape((found[2] or b"").decode("latin-1").strip())
    return int(found[1]), f"{int(found[1])} {phrase}".rstrip()
