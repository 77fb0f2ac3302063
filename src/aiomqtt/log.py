"""Logging that never raises: exceptions of handlers and filters stay here."""

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

    A handler or filter of the program must not disturb the connection. Its exceptions
    are reported as `logging.Handler.handleError` does: on stderr, if
    `logging.raiseExceptions` is set, which is the default.

    Args:
        logger: The logger to use.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__(logger)
        # Called for each chunk of bytes: save a call in between.
        self.__dict__["isEnabledFor"] = logger.isEnabledFor

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log; an exception is reported on stderr."""
        # Report the caller's line, not this one.
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
        logger: The program's argument `logger`.
        default: The logger to use for ``None``.

    Raises:
        TypeError: The argument is not a logger.
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
