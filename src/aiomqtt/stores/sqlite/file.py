"""One SQLite file: who may open it, how it is created and checked, its transactions.

All methods block: call them in one thread, which is not that of an event loop.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from .errors import refusal
from .lease import Lease

Durability: TypeAlias = Literal["normal", "full"]

# Called with the name of each step before it is taken; the tests of crashes use it.
Step: TypeAlias = Callable[[str], None]
# Checks what a file has, and raises SessionStoreError.
Check: TypeAlias = Callable[[sqlite3.Connection], None]

# A larger file is not checked as a whole when it is opened: that would take seconds.
CHECKED_SIZE: Final = 64 * 1024 * 1024
# How long to wait for the transaction of another program, in seconds.
_BUSY_TIMEOUT: Final = 5.0
# To what the write-ahead log is cut after a checkpoint, in bytes.
_LOG_LIMIT: Final = 8 * 1024 * 1024
# How many free pages stay, and how many are given back at a time.
_FREE_PAGES: Final = 256
_PAGES_PER_STEP: Final = 512


def check_durability(durability: object) -> None:
    """Raise ValueError if a durability is none."""
    if durability not in ("normal", "full"):
        msg = f'durability must be "normal" or "full", not {durability!r}'
        raise ValueError(msg)


class Schema(NamedTuple):
    """What a kind of file has.

    Attributes:
        application_id: The number in the header of each such file.
        contents: What is in it, for the texts of errors.
        migrations: The statements that lead from each version to the next; the first
            ones create an empty file. A file has as many versions behind it.
    """

    application_id: int
    contents: str
    migrations: tuple[tuple[str, ...], ...]


def take_no_step(name: str) -> None:
    """Do nothing."""


def _check_nothing(connection: sqlite3.Connection) -> None:
    """Any contents will do."""


class DatabaseFile:
    """A SQLite file that one process uses at a time.

    Args:
        path: The file; it is created if there is none, its directory is not.
        schema: What is in it.
        durability: "full": a transaction that was committed survives the loss of
            power. "normal": it survives the end of the process, but power loss may
            undo the last ones.

    Attributes:
        path: The file, without symbolic links.
        connection: The connection; None: it is closed.
        step: Called before each step.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: Schema,
        durability: Durability = "normal",
    ) -> None:
        self.path: str = os.path.realpath(os.fsdecode(path))
        self.connection: sqlite3.Connection | None = None
        self.step: Step = take_no_step
        self._schema = schema
        self._durability = durability
        self._lease = Lease(self.path)
        # What the path led to when it was opened.
        self._identity: os.stat_result | None = None
        # Whether a group could not be written since it was opened.
        self._has_failed = False

    def open(self, check: Check = _check_nothing) -> sqlite3.Connection:
        """Open the file, and keep other processes from it until `close`.

        Args:
            check: Checks the contents before anything in the file changes.

        Raises:
            SessionStoreError: It is not for us; nothing in it has changed.
            sqlite3.Error: SQLite can't read or write it.
            OSError: The system can't.
        """
        directory = Path(self.path).parent
        if not directory.is_dir():
            reason = f"there is no directory {directory}: create it first"
            raise refusal(self.path, reason)
        if Path(self.path).is_dir():
            raise refusal(self.path, "it is a directory: choose a file in it")
        self.step("take lease")
        self._lease.take()
        try:
            if Path(self.path).exists():
                self._examine(check)
            else:
                self._create()
            self.connection = self._connect()
            self._identity = Path(self.path).stat()
            self._migrate(self.connection)
            self._has_failed = False
        except BaseException:
            self.close()
            raise
        return self.connection

    def close(self) -> None:
        """Close the file and let others open it; harmless if it is closed.

        What was not committed is undone.
        """
        connection, self.connection = self.connection, None
        try:
            if connection is not None:
                self.step("close")
                _close(connection)
        finally:
            self.step("release lease")
            self._lease.release()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done within it as a whole, or nothing."""
        connection = self.connected()
        self.step("begin")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            self.check_place()
            self.step("commit")
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        self.step("committed")

    @contextlib.contextmanager
    def group(self, is_synchronized: bool = False) -> Iterator[sqlite3.Connection]:
        """The same for a group of changes: after a failure it refuses any others.

        What is known of the tables might not fit them any more, until they are opened
        again.

        Args:
            is_synchronized: Whether it, and what was committed before it, survives the
                loss of power, whatever the durability.
        """
        if self._has_failed:
            raise refusal(self.path, "it could not be written: start again")
        self._has_failed = True
        if is_synchronized:
            _synchronize(self.connected(), "full")
        with self.transaction() as connection:
            yield connection
        if is_synchronized:
            _synchronize(connection, self._durability)
        self._has_failed = False

    def check_place(self) -> None:
        """Check that the path still leads to the file that is open.

        SQLite would write on to one that was moved, deleted or replaced, and nobody
        would find it there.

        Raises:
            SessionStoreError: It does not.
        """
        identity = self._identity
        with contextlib.suppress(FileNotFoundError):
            found = Path(self.path).stat()
            if identity is not None and os.path.samestat(found, identity):
                return
        reason = (
            "it was moved, deleted or replaced while it was in use: put it back"
            f" together with its log {self.path}-wal, if it is there, then start again"
        )
        raise refusal(self.path, reason)

    def connected(self) -> sqlite3.Connection:
        """Return the connection; the file must be open."""
        if self.connection is None:
            raise refusal(self.path, "it is not open: enter the client first")
        return self.connection

    def shrink(self) -> bool:
        """Give some free pages back to the system; True: there are more.

        Most free pages are needed again soon, unless they are over half of the file.
        """
        connection = self.connected()
        free, pages = _number(connection, "freelist_count"), self.pages()
        if free <= _FREE_PAGES or free * 2 < pages:
            return False
        self.step("shrink")
        # `execute` would give back one page: it has a row without columns for each.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_PER_STEP})")
        return True

    def pages(self) -> int:
        """Return the number of pages of the file."""
        return _number(self.connected(), "page_count")

    # --- opening ----------------------------------------------------------------

    def _examine(self, check: Check) -> None:
        """Check the file without changing anything in it."""
        self.step("examine")
        if not os.access(self.path, os.R_OK | os.W_OK):
            reason = (
                "it can't be read and written: give this user access to it and its"
                " directory"
            )
            raise refusal(self.path, reason)
        connection = connect_read_only(self.path)
        try:
            check_size(self.path, connection)
            check_identity(self.path, connection, self._schema)
            if Path(self.path).stat().st_size <= CHECKED_SIZE:
                check_integrity(self.path, connection)
            check(connection)
        finally:
            connection.close()

    @property
    def _version(self) -> int:
        return len(self._schema.migrations)

    def _create(self) -> None:
        """Create the file under another name first: it is there as a whole, or not."""
        if Path(f"{self.path}-wal").exists():
            reason = (
                f"it is missing, but its log {self.path}-wal is there: put the file"
                " back, or move its log away"
            )
            raise refusal(self.path, reason)
        new = Path(f"{self.path}-new")
        for name in (new, Path(f"{new}-journal"), Path(f"{new}-wal")):
            name.unlink(missing_ok=True)
        self.step("create")
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            # Only an empty file can be told to give pages back later.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._migrate(connection)
            self._set_log(connection)
        finally:
            connection.close()
        self.step("rename")
        new.rename(self.path)
        _sync_directory(Path(self.path).parent)

    def _connect(self) -> sqlite3.Connection:
        self.step("connect")
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT,
            isolation_level=None,
            cached_statements=256,
        )
        try:
            self._set_log(connection)
            _synchronize(connection, self._durability)
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_log(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            reason = (
                "its file system can't share memory between processes, which SQLite's"
                " write-ahead log needs: use a local disk"
            )
            raise refusal(self.path, reason)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the tables to the version of this program, as a whole."""
        version = _number(connection, "user_version")
        if version == self._version:
            return
        self.step("migrate")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in self._schema.migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            application_id = self._schema.application_id
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {self._version}")
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise


def check_size(path: str, connection: sqlite3.Connection) -> None:
    """Check that a file is not empty, and that its last page is whole.

    The file is not opened for that: closing it would end the locks that other
    connections of this process have on it.

    Raises:
        SessionStoreError: It is not whole.
        sqlite3.Error: It is no SQLite database.
    """
    size = Path(path).stat().st_size
    if not size:
        reason = (
            "it is empty, so what it had is lost, or another program has created it:"
            " restore a copy, or delete it to begin anew"
        )
        raise refusal(path, reason)
    # The page size is known only when the header was read.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    page_size = _number(connection, "page_size")
    # SQLite would read what is missing as zeros. If a process was killed as it wrote
    # that page, the log has it.
    if size % page_size and not _log_has(path, size // page_size + 1, page_size):
        raise damage(path, "its last page is cut")


def check_identity(path: str, connection: sqlite3.Connection, schema: Schema) -> None:
    """Check that a file is one of ours, and that this version knows its tables.

    Raises:
        SessionStoreError: It is another one.
    """
    if _number(connection, "application_id") != schema.application_id:
        reason = (
            f"it does not have {schema.contents}, but something else: choose another"
            " file"
        )
        raise refusal(path, reason)
    version, known = _number(connection, "user_version"), len(schema.migrations)
    if version > known:
        reason = (
            f"a newer version of aiomqtt has written it (version {version} of the"
            f" tables, this one knows {known}): install that, or choose another file"
        )
        raise refusal(path, reason)


def connect_read_only(path: str, *, is_shared: bool = False) -> sqlite3.Connection:
    """Open a file that nothing may change in.

    Args:
        path: The file.
        is_shared: Whether another process may be writing to it.

    Raises:
        sqlite3.Error: SQLite can't open it.
    """
    # Without a log all is in the file. Else SQLite would create one, and leave it.
    is_alone = not is_shared and not _has_log(path)
    mode = "mode=ro&immutable=1" if is_alone else "mode=ro"
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?{mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
    )


def _has_log(path: str) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _log_has(path: str, page: int, page_size: int) -> bool:
    """Return whether the write-ahead log has a page, by its number.

    See https://www.sqlite.org/fileformat2.html#walformat.
    """
    try:
        log = Path(f"{path}-wal").read_bytes()
    except FileNotFoundError:
        return False
    salts = log[16:24]
    for start in range(32, len(log) - page_size - 23, 24 + page_size):
        if log[start + 8 : start + 16] != salts:
            # It is left of an earlier log, and so is all behind it.
            break
        if int.from_bytes(log[start : start + 4]) == page:
            return True
    return False


def check_integrity(path: str, connection: sqlite3.Connection) -> None:
    """Check that all pages of a file and their order are intact.

    Raises:
        SessionStoreError: They are not.
    """
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damage(path, str(found))


def damage(path: str, what: str) -> Exception:
    """Return the error for a file that is damaged.

    Args:
        path: The file.
        what: What SQLite found.
    """
    reason = (
        "it is damaged: move it aside with `python -m aiomqtt session quarantine"
        f" FILE`, or restore a copy ({' '.join(what.split())})"
    )
    return refusal(path, reason)


def _synchronize(connection: sqlite3.Connection, durability: str) -> None:
    """Have the transactions that follow written to the disk as a durability says."""
    connection.execute(f"PRAGMA synchronous = {durability}")
    # On macOS nothing less reaches the disk.
    connection.execute(f"PRAGMA fullfsync = {durability == 'full'}")


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction that is open, if there is one."""
    # After some errors SQLite has done that already.
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _close(connection: sqlite3.Connection) -> None:
    roll_back(connection)
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)


def _sync_directory(directory: Path) -> None:
    """Have the name of a new file survive the loss of power; Windows needs no such."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
