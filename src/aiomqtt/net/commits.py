"""The queue between the engine and the network, for a session that is stored.

What the engine hands over waits here until its changes are durable; only then do its
bytes leave, and its happenings are reported. One group of changes is stored at a time.
What comes meanwhile waits in order, and is the next group.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiomqtt.protocol.changes import Change
from aiomqtt.protocol.output import Output

# While more bytes than this wait in both directions, publishers wait, and nothing is
# read: a disk that is stuck must not fill the memory.
HELD_LIMIT: Final = 1024 * 1024

# Passes an output on, with whether its changes are stored.
Release: TypeAlias = Callable[[Output, bool], None]


class CommitQueue:
    """Stores the changes of a session in groups, and releases what depends on them.

    Args:
        commit: Stores changes; returns when they are durable.
        on_failure: Called once, if that has failed, with the error and all changes
            that were not stored. What waited has been released as such.

    Attributes:
        error: Why nothing is stored any more, or None.
        is_held: Whether everything has to wait: `commit` is called also without
            changes, and returns when it goes on.
    """

    def __init__(
        self,
        commit: Callable[[list[Change]], Awaitable[None]],
        on_failure: Callable[[BaseException, list[Change]], None],
    ) -> None:
        # All is valid from entering to leaving.
        self._commit = commit
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # What is being stored, and what waits for the next group.
        self._group: list[tuple[Output, Release]] = []
        self._waiting: list[tuple[Output, Release]] = []
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        self.is_held: bool = False

    def holds(self, output: Output) -> bool:
        """Whether an output has to wait, or comes after one that does."""
        return output.changes is not None or self._task is not None or self.is_held

    def add(self, output: Output, release: Release) -> None:
        """Release an output when its changes, and all before it, are stored.

        Args:
            output: The output.
            release: Passes it on; called from the event loop, and at once if nothing
                is stored any more.
        """
        if self.error is not None:
            release(output, False)
            return
        self._waiting.append((output, release))
        if self._task is None:
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._on_done)
            # A program may close its event loop without leaving the client.
            self._task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001

    async def stored(self) -> bool:
        """Wait until all changes so far are stored; return whether they are."""
        if self._task is None:
            return self.error is None
        waiter: asyncio.Future[bool] = self._loop.create_future()

        def resolve(output: Output, is_stored: bool) -> None:
            if not waiter.done():
                waiter.set_result(is_stored)

        self.add(Output(None, [], []), resolve)
        return await waiter

    async def settled(self) -> None:
        """Return when nothing waits any more, stored or not."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._waiting:
            # Calls of the same turn belong to the same group.
            await asyncio.sleep(0)
            self._group, self._waiting = self._waiting, []
            changes = _changes_of(self._group)
            if changes or self.is_held:
                await self._commit(changes)
            group, self._group = self._group, []
            self._release(group, True)
        # Not in `_on_done`, which runs later.
        self._task = None

    def _release(self, group: list[tuple[Output, Release]], is_stored: bool) -> None:
        for output, release in group:
            try:
                release(output, is_stored)
            except Exception as error:  # noqa: BLE001 - as if asyncio had called it
                self._loop.call_exception_handler(
                    {"message": "A report to the client failed", "exception": error}
                )

    def _on_done(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._task = None
            self.error = error
            waiting = self._group + self._waiting
            self._group, self._waiting = [], []
            self._release(waiting, False)
            self._on_failure(error, _changes_of(waiting))


def _changes_of(group: list[tuple[Output, Release]]) -> list[Change]:
    return [change for output, _ in group for change in output.changes or ()]
