"""A SQLite file that an event loop uses, in a thread of its own."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from aiomqtt.stores.base import SessionStoreError

from .errors import explained, refusal
from .file import DatabaseFile
from .thread import CallThread

T = TypeVar("T")

# After how many calls of `clean_sometimes` to look for what can be cleaned.
_CLEAN_EVERY: Final = 16
# How long closing may take to give pages back, in seconds.
_CLEAN_FOR: Final = 1.0


class FileWorker:
    """Uses a file in a thread of its own, from `open` to `close`.

    Args:
        file: The file.
        name: The name of the thread.
        clean: Does a part of what has time, in the thread; returns whether there is
            more.

    Attributes:
        thread: The thread; None: the file is closed.
    """

    def __init__(
        self, file: DatabaseFile, name: str, clean: Callable[[], bool]
    ) -> None:
        self._file = file
        self._name = name
        self._clean = clean
        self._groups = 0
        # Valid from `open` to `close`.
        self.thread: CallThread | None = None
        # It may still be closing the file: resolves when that is closed.
        self._last_thread: CallThread | None = None
        self._closed: asyncio.Future[None] | None = None

    async def open(self, function: Callable[[], T]) -> T:
        """Begin, with a function that opens the file; return what it returns.

        If it fails or is cancelled, the file is closed.

        Raises:
            SessionStoreError: The file is in use here, or the function failed.
        """
        if self.thread is not None:
            msg = f"{self._file.path}: it is in use here already: close it first"
            raise SessionStoreError(msg)
        self.thread = CallThread(self._name)
        last = self._last_thread

        def after_last() -> T:
            if last is not None:
                last.join()
            return function()

        try:
            return await self.call(after_last)
        except BaseException:
            # What the thread does is undone behind it, even if we were cancelled.
            await self.close()
            raise

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread.

        Raises:
            SessionStoreError: The file is not open, or SQLite or the system failed.
        """
        if self.thread is None:
            raise self.not_open()
        return await self.thread.call(partial(self._explained, function))

    def not_open(self) -> SessionStoreError:
        """Return the error of a call that needs an open file."""
        return refusal(self._file.path, "it is not open: enter the client first")

    def _explained(self, function: Callable[[], T]) -> T:
        with explained(self._file.path):
            return function()

    def clean_sometimes(self) -> None:
        """Give pages back between two groups, a few at a time, now and then."""
        self._groups += 1
        if not self._groups % _CLEAN_EVERY and self.thread is not None:
            self.thread.post(partial(self._clean_more, self.thread))

    def _clean_more(self, thread: CallThread) -> None:
        if self._file.connection is None:
            return
        # What goes wrong here will go wrong in a commit, too, which reports it.
        with contextlib.suppress(sqlite3.Error):
            if self._clean():
                thread.post(partial(self._clean_more, thread))

    async def close(self) -> None:
        """Close the file, after the calls that were made, and wait until it is closed.

        It is harmless if it is closed, or about to be.
        """
        self.close_soon()
        closed, thread = self._closed, self._last_thread
        if closed is None or thread is None:
            return
        # That of a loop which was closed meanwhile never resolves.
        if closed.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(closed)
        # It has nothing left to do.
        thread.join()

    def close_soon(self) -> None:
        """Close the file, after the calls that were made; harmless if it is closed."""
        thread, self.thread = self.thread, None
        if thread is None:
            return
        self._closed = thread.call(self._close)
        thread.stop()
        self._last_thread = thread

    def _close(self) -> None:
        until = time.monotonic() + _CLEAN_FOR
        try:
            if self._file.connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    while self._clean() and time.monotonic() < until:
                        pass
        finally:
            self._file.close()
