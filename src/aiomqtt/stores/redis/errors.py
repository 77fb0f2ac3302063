"""Errors of the server and the connection to it, in sentences that say what to do."""

import contextlib
from collections.abc import Iterator
from typing import Final

from redis import exceptions

from aiomqtt.stores.base import SessionStoreError

# The first that fits; the texts continue the sentence "PLACE: ".
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        exceptions.AuthenticationError,
        "the server wants other credentials: put them into the URL",
    ),
    (
        exceptions.NoPermissionError,
        "this user may not use a command or a key that the session needs",
    ),
    (
        exceptions.ReadOnlyError,
        "the server is a replica: choose the URL of the primary",
    ),
    (
        exceptions.OutOfMemoryError,
        "the server has reached its limit of memory: make room, then enter again",
    ),
    (
        exceptions.BusyLoadingError,
        "the server is still starting: enter the client again later",
    ),
    (
        exceptions.TimeoutError,
        "the server did not answer in time: enter the client again",
    ),
    (
        exceptions.ConnectionError,
        "the server can't be reached, or the connection broke: enter the client again",
    ),
    (OSError, "the server can't be reached: enter the client again"),
)


def refusal(place: str, reason: str) -> SessionStoreError:
    """Return the error for a session.

    Args:
        place: The server and the name of the session.
        reason: What is the matter, and what to do.
    """
    return SessionStoreError(f"{place}: {reason}")


def damage(place: str, reason: str) -> SessionStoreError:
    """Return the error for a session whose keys can't be."""
    text = (
        f"it is damaged ({reason}): restore a copy of the server's data, or rename or"
        " delete its keys"
    )
    return refusal(place, text)


@contextlib.contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn errors of the server and of the connection into SessionStoreError.

    Args:
        place: The server and the name of the session.
    """
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise _explain(place, error) from error


def _explain(place: str, error: Exception) -> SessionStoreError:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return refusal(place, f"{reason} ({error})")
    if str(error).startswith("MISCONF"):
        reason = "the server can't write to its disk: check that, then enter the client"
        return refusal(place, f"{reason} again ({error})")
    return refusal(place, f"the server reports: {error}")
