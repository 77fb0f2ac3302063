"""The store that keeps the state of a broker in a SQLite file."""

import os
from collections.abc import Sequence
from functools import partial

from aiomqtt.stores.broker import Record, StoredBroker

from .broker_schema import BROKER_SCHEMA
from .broker_tables import BrokerTables
from .file import DatabaseFile, Durability, Step, check_durability
from .worker import FileWorker


class SQLiteStore:
    """Keeps the sessions and retained messages of one `Broker` in a SQLite file.

    Pass it to ``Broker(store=...)``. The file is open, in a thread of its own, while
    the broker runs. Until then a file beside it, named as it with "-lease", keeps other
    processes from it.

    Args:
        path: The file; it is created if there is none, its directory is not.
        durability: "normal": what is stored survives the end of the process, however it
            ends; if the power is lost, the last changes may be lost. "full": it
            survives that too, as each group of changes is written to the disk before
            the broker acknowledges what it has.

    Raises:
        ValueError: `durability` has no such value.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "normal"
    ) -> None:
        check_durability(durability)
        self._file = DatabaseFile(path, BROKER_SCHEMA, durability)
        self._tables = BrokerTables(self._file)
        self._worker = FileWorker(self._file, "aiomqtt-broker", self._file.shrink)

    @property
    def path(self) -> str:
        """The file, without symbolic links."""
        return self._file.path

    def _on_step(self, step: Step) -> None:
        """Have a function called before each step, with its name, for tests."""
        self._file.step = step

    async def open(self) -> StoredBroker:
        """Return all that is stored; called by the broker when it starts.

        Raises:
            SessionStoreError: The file can't be used; nothing in it has changed.
        """
        return await self._worker.open(self._tables.open)

    async def commit(self, records: Sequence[Record]) -> None:
        """Store records, in order, as a whole; called by the broker.

        Raises:
            SessionStoreError: They could not be stored.
        """
        await self._worker.call(partial(self._tables.write, records))
        self._worker.clean_sometimes()

    async def close(self) -> None:
        """Close the file; called by the broker when it has stopped."""
        await self._worker.close()

    def abandon(self) -> None:
        """Close the file soon, without waiting; called by `Broker.kill`."""
        self._worker.close_soon()
