"""Subscription Identifiers for overlapping subscriptions (MQTT 5.0 §3.8.2.1.2).

They tell for which of several subscriptions a broker sends a copy of a message.
"""

from collections.abc import Iterable
from typing import Final
from zlib import crc32

from aiomqtt.topic import is_shared

# The identifiers below are left to the program.
FIRST: Final = 1 << 27
# Set in an identifier that is a checksum.
CHECKSUM: Final = 1 << 26
MOST_LEVELS: Final = 24


def to_identifier(name: str) -> int:
    """Return the identifier of a topic filter.

    It depends on the number of levels and on where the wildcards are. Filters that
    agree in this match no topic in common, unless they are equal, so they may have the
    same identifier: then few SUBSCRIBE packets are enough for many filters. It is the
    same in each process, so that it is known after a restart.

    Args:
        name: The topic filter, as in the SUBSCRIBE.
    """
    levels = name.split("/")
    if is_shared(name) or len(levels) > MOST_LEVELS:
        return to_common_identifier([name])
    code = 1
    for level in levels:
        if level != "#":
            code = code << 1 | (level == "+")
    return FIRST | code << 1 | (levels[-1] == "#")


def to_common_identifier(names: Iterable[str]) -> int:
    """Return an identifier for topic filters that are in the same SUBSCRIBE."""
    return FIRST | CHECKSUM | crc32("\0".join(names).encode()) % CHECKSUM
