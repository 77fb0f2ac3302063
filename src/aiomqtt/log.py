"""Logging that harms nobody: what a handler or a filter raises stays here."""

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any, TypeAlias

Logger: TypeAlias = (
    logging.Logger
    | logging.LoggerAdapter[logging.Logger]
    | logging.LoggerAdapter[logging.LoggerAdapter[logging.Logger]]
)


class SafeLogger(logging.LoggerAdapter[Any]):
    """A logger that never raises an Exception.

    What raises is a program's handler or filter, while a connection is being served. It
    is reported as `logging.Handler.handleError` does: on stderr, if
    `logging.raiseExceptions` is set, as it is by default.

    Args:
        logger: Where to log.
    """

    def __init__(self, logger: Logger) -> None:
        """Keep the logger."""
        super().__init__(logger)
        # Asked for each chunk of bytes: without a call in between.
        self.__dict__["isEnabledFor"] = logger.isEnabledFor

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log; what that raises is reported on stderr."""
        # The line that logged is that of the caller.
        kwargs.setdefault("stacklevel", 2)
        try:
            self.logger.log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001
            if logging.raiseExceptions and sys.stderr is not None:
                with suppress(Exception):
                    sys.stderr.write("--- Logging error ---\n")
                    traceback.print_exc(file=sys.stderr)


def to_logger(logger: Logger | None, default: logging.Logger) -> SafeLogger:
    """Return a logger that never raises.

    Args:
        logger: What the program gave as its argument `logger`.
        default: The one for ``None``.

    Raises:
        TypeError: It is not a logger.
    """
    if logger is None:
        return SafeLogger(default)
    if not isinstance(logger, logging.Logger | logging.LoggerAdapter):
        msg = (
            "logger must be a logging.Logger, a logging.LoggerAdapter or None, not"
            f" {type(logger).__name__}"
        )
        if isinstance(logger, str):
            msg += f": logging.getLogger({logger!r}) returns one"
        raise TypeError(msg)
    return SafeLogger(logger)
