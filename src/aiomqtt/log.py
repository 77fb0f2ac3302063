"""Logging that never raises: exceptions of handlers and filters stay here."""

import logging
import sys
import traceback
from collections.abc import Mapping
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

    Attributes:
        context: Attributes that every record gets, by name.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__(logger)
        self.context: dict[str, object] = {}
        # Called for each chunk of bytes: save a call in between.
        self.__dict__["isEnabledFor"] = logger.isEnabledFor

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log; an exception is reported on stderr."""
        # Report the caller's line, not this one.
        kwargs.setdefault("stacklevel", 2)
        if self.context:
            kwargs["extra"] = {**self.context, **kwargs.get("extra", {})}
        try:
            self.logger.log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001
            if logging.raiseExceptions and sys.stderr is not None:
                with suppress(Exception):
                    sys.stderr.write("--- Logging error ---\n")
                    traceback.print_exc(file=sys.stderr)

    def event(
        self,
        level: int,
        event: str,
        fields: Mapping[str, object],
        msg: str,
        *args: object,
        exc_info: bool = False,
    ) -> None:
        """Log what a program may want to recognize, as attributes of the record.

        Args:
            level: The level.
            event: What happened, for the attribute ``mqtt_event``.
            fields: Further attributes; each gets the prefix ``mqtt_``. They must be
                safe to be logged: no payloads, no secrets.
            msg: The text, with the places for `args`.
            *args: The values in the text.
            exc_info: Whether to log the exception that is being handled.
        """
        extra = {f"mqtt_{name}": value for name, value in fields.items()}
        extra["mqtt_event"] = event
        # A record without an exception has None, as those of other libraries have.
        exception = exc_info or None
        # Report the caller's line, two calls away.
        self.log(level, msg, *args, exc_info=exception, extra=extra, stacklevel=3)


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
