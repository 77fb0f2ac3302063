"""The right of one process to use a file, as long as it lives."""

import contextlib
import os
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiomqtt.stores.holder import Holder, parse_holder, this_process

from .errors import refusal

SUFFIX: Final = "-lease"
# For how many seconds to try again: `is_held` takes the lock for a moment.
_PATIENCE: Final = 0.2
_PAUSE: Final = 0.02

# Takes a lock on an open file, at once or not at all: then it raises OSError.
Lock = Callable[[int], None]

if sys.platform == "win32":
    import msvcrt

    # Behind the text: Windows keeps others from reading what is locked.
    _LOCKED_BYTE: Final = 1 << 20

    def lock_file(descriptor: int) -> None:
        """Lock an open file until it is closed or the process ends."""
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def lock_file(descriptor: int) -> None:
        """Lock an open file until it is closed or the process ends."""
        # Not `lockf`: the system ends such a lock when this process closes any
        # descriptor of the file, and lets one process take it twice.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lease:
    """The right to use a file: a lock on a second file, which names the holder.

    The system ends the lock with the process, however it ends.

    Args:
        path: The file, without symbolic links.
        lock: Takes a lock.
    """

    def __init__(self, path: str, lock: Lock = lock_file) -> None:
        self._file = path
        self._path = Path(path + SUFFIX)
        self._lock = lock
        # Valid while it is held.
        self._descriptor = -1

    def take(self) -> None:
        """Take the lease.

        Raises:
            SessionStoreError: Another client has it, or the file system does not lock.
            OSError: Its file can't be created.
        """
        descriptor = self._open_locked()
        try:
            self._check_that_it_locks()
            os.ftruncate(descriptor, 0)
            os.write(descriptor, this_process().to_text().encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lease back; harmless if it is not held."""
        if self._descriptor < 0:
            return
        # Before the lock ends: the next holder creates its own. If somebody has deleted
        # ours, it has done so already.
        with contextlib.suppress(OSError):
            if self._is_current(self._descriptor):
                self._path.unlink()
        self.forget()

    def forget(self) -> None:
        """Close the file of the lease; the system ends the lock with its last owner."""
        descriptor, self._descriptor = self._descriptor, -1
        _held.discard(self)
        if descriptor >= 0:
            os.close(descriptor)

    def _open_locked(self) -> int:
        give_up_at = time.monotonic() + _PATIENCE
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                if time.monotonic() > give_up_at:
                    raise self._in_use() from error
                time.sleep(_PAUSE)
                continue
            if self._is_current(descriptor):
                return descriptor
            # Its holder has removed it meanwhile: take the next one.
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _check_that_it_locks(self) -> None:
        """Check that nobody else is given the lock now."""
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            self._lock(descriptor)
        except OSError:
            return
        finally:
            os.close(descriptor)
        reason = (
            "its file system does not lock files, so another process could use it at"
            " the same time: use a local disk"
        )
        raise refusal(self._file, reason)

    def _in_use(self) -> Exception:
        who = read_holder(self._file) or "another process"
        reason = f"it is in use by {who}: end that first, or choose another file"
        return refusal(self._file, reason)


def read_holder(path: str) -> Holder | None:
    """Return who wrote its name on the lease of a file; None: nobody has.

    Args:
        path: The file. A holder that was killed may still stand there: see `is_held`.
    """
    try:
        return parse_holder(Path(path + SUFFIX).read_bytes())
    except OSError:
        return None


def is_held(path: str) -> bool:
    """Return whether a process holds the lease of a file.

    Args:
        path: The file. Nothing is created.
    """
    try:
        descriptor = os.open(path + SUFFIX, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        lock_file(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


# A child that is forked has the lock of its parent: it would outlive the parent.
_held: weakref.WeakSet[Lease] = weakref.WeakSet()


def _forget_those_of_the_parent() -> None:
    for lease in [*_held]:
        lease.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_those_of_the_parent)
