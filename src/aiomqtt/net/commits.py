"""The queue between an engine and the network, if what it changes is stored.

What the engine hands over waits here until its changes are durable; only then do its
bytes leave, and its happenings are reported. One group of changes is stored at a time.
What comes meanwhile waits in order, and is the next group.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

# One change, of whatever is stored.
C = TypeVar("C")

# Passes on what depends on changes, with whether they are stored.
Release: TypeAlias = Callable[[bool], None]


class CommitQueue(Generic[C]):
    """Stores changes in groups, and releases what depends on them.

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
        commit: Callable[[list[C]], Awaitable[None]],
        on_failure: Callable[[BaseException, list[C]], None],
    ) -> None:
        # All is valid from entering to leaving.
        self._commit = commit
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # What is being stored, and what waits for the next group.
        self._group: list[tuple[Sequence[C], Release]] = []
        self._waiting: list[tuple[Sequence[C], Release]] = []
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        self.is_held: bool = False

    def holds(self, changes: Sequence[C] | None) -> bool:
        """Whether what depends on changes, None: on none, has to wait for something."""
        return changes is not None or self._task is not None or self.is_held

    def add(self, changes: Sequence[C] | None, release: Release) -> None:
        """Store changes, and release what depends on them and on all before.

        Args:
            changes: The changes; None: there are none.
            release: Passes it on; called from the event loop, and at once if nothing
                is stored any more.
        """
        if self.error is not None:
            release(False)
            return
        self._waiting.append((changes or (), release))
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

        def resolve(is_stored: bool) -> None:
            if not waiter.done():
                waiter.set_result(is_stored)

        self.add(None, resolve)
        return await waiter

    async def settled(self) -> None:
        """Return when nothing waits any more, stored or not."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def give_up(self) -> None:
        """Cancel the commit in progress, which may have its effect; store no others."""
        if self._task is not None:
            self._task.cancel()
        await self.settled()

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

    def _release(
        self, group: list[tuple[Sequence[C], Release]], is_stored: bool
    ) -> None:
        for _, release in group:
            try:
                release(is_stored)
            except Exception as error:  # noqa: BLE001 - as if asyncio had called it
                self._loop.call_exception_handler(
                    {"message": "A report failed", "exception": error}
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


def _changes_of(group: list[tuple[Sequence[C], Release]]) -> list[C]:
    return [change for changes, _ in group for change in changes]
