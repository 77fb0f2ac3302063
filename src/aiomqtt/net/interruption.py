"""What a cancellation interrupted, so that the error of a timeout can say it."""

import asyncio
import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def waiting(missing: str, advice: str = "") -> Iterator[None]:
    """Note on a cancellation what had not happened by then.

    Args:
        missing: A clause, such as "HOST:PORT did not complete the TLS handshake".
        advice: What to do about it, if it is the fault of a timeout.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        # The innermost wait says it best.
        if not hasattr(error, "__notes__"):
            error.add_note(missing)
            error.add_note(advice)
        raise


def explain_interruption(
    error: BaseException | None, otherwise: str, timeout: float
) -> str:
    """Return what did not happen within a timeout.

    Args:
        error: The cancellation by the timeout.
        otherwise: The clause for a cancellation without a note.
        timeout: The timeout in seconds.
    """
    missing, *advice = getattr(error, "__notes__", None) or (otherwise,)
    text = f"{missing} within {timeout:.4g} seconds"
    return f"{text}: {advice[0]}" if any(advice) else text
