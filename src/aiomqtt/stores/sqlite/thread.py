"""A thread that makes blocking calls for an event loop, one after the other."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")

_TIMEOUT: Final = 60.0  # seconds


class _Job(NamedTuple):
    function: Callable[[], Any]
    # Whom to tell; None: nobody.
    future: asyncio.Future[Any] | None


class CallThread:
    """Makes calls in a thread of its own, in the order in which they are passed.

    A call that has been passed is made, even if nobody waits for it any more.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # As a daemon it doesn't keep a process alive that never stops it.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Make a call in the thread; the future has its result or its error.

        Args:
            function: What to call. Cancelling the future does not stop it; then its
                error is ignored.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(function, future))
        return future

    def post(self, function: Callable[[], None]) -> None:
        """Make a call in the thread whose end nobody waits for; it must not raise."""
        self._jobs.put(_Job(function, None))

    def stop(self) -> None:
        """End the thread once it has made the calls that were passed."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait until the thread has ended; call `stop` first."""
        self._thread.join(_TIMEOUT)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = job.function()
            except BaseException as caught:  # noqa: BLE001
                error = caught
            if job.future is not None:
                # The loop may have been closed meanwhile.
                with contextlib.suppress(RuntimeError):
                    job.future.get_loop().call_soon_threadsafe(
                        _settle, job.future, result, error
                    )
            # Keep nothing alive while waiting for the next call.
            del job, result, error


def _settle(
    future: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
