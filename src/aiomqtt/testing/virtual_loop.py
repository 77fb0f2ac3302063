"""An event loop with a clock of its own: waiting takes no real time.

It uses methods of `asyncio.BaseEventLoop` that asyncio's own loops override too:
`_process_events`, `_write_to_self`, the selector, and the two queues of handles.
"""

import asyncio
import concurrent.futures
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The loop runs timers that are due within this many seconds. It has to be more than the
# rounding error of a time: this is so for 200 years.
RESOLUTION: Final = 1e-6
# After this many turns in which no time has passed, none will.
MAXIMUM_TURNS: Final = 1_000_000

# What a loop for sockets and processes has, and this one has not.
ABSENT: Final = (
    *("add_reader", "remove_reader", "add_writer", "remove_writer"),
    *("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "sock_sendto", "sock_sendfile", "sock_connect", "sock_accept"),
    *("getaddrinfo", "getnameinfo", "create_connection", "create_server"),
    *("create_unix_connection", "create_unix_server", "create_datagram_endpoint"),
    *("connect_accepted_socket", "start_tls", "sendfile"),
    *("connect_read_pipe", "connect_write_pipe", "subprocess_shell"),
    *("subprocess_exec", "add_signal_handler", "remove_signal_handler"),
)
PACKAGES: Final = (Path(__file__).parents[1], Path(asyncio.__file__).parent)
# The names of the callbacks that run a task until it waits, in C and in Python; the
# first has none.
STEPS: Final = {"", "task_wakeup", "__step", "__wakeup"}


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop whose time passes only when every task waits.

    Then it jumps to the next timer. It starts at 0. Tasks that are ready in the same
    turn run in an order that the seed determines; other callbacks stay in the order in
    which they were scheduled, and no task moves across one.

    `run_in_executor` returns when the function has returned. There are no sockets,
    subprocesses or signal handlers: asking for one is a RuntimeError.

    Args:
        seed: Determines the order of tasks.
    """

    # What the base class keeps: handles that run in the next turn, and a heap of
    # timers.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _thread_id: int | None

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed: Final = seed
        self._random = random.Random(f"order of tasks {seed}")
        self._now = 0.0
        self._turns = 0
        self._clock_resolution = RESOLUTION
        # The base class asks it for events, and for how long it may wait for them.
        self._selector = self
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None

    def time(self) -> float:
        """Return the seconds of simulated time since the loop was made."""
        return self._now

    # Like a real clock, it also measures how long something has run: 0 seconds.
    turn_clock = time

    # --- one turn -------------------------------------------------------------------

    def select(self, timeout: float | None) -> list[Any]:
        """Let time pass, if nothing else is left to do, and order the tasks.

        Args:
            timeout: The seconds until the next timer; 0: something is ready; None:
                there is no timer.

        Raises:
            RuntimeError: Nothing will ever happen, or time will not pass.
        """
        if timeout == 0:
            self._turns += 1
            if self._turns > MAXIMUM_TURNS:
                self._turns = 0
                raise RuntimeError(self._explain(_BUSY))
            self._shuffle()
            return []
        self._turns = 0
        when = self._scheduled[0].when() if timeout is not None else math.inf
        if when == math.inf:
            raise RuntimeError(self._explain(_STILL))
        self._now = max(self._now, when)
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are no events."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never waits for real."""

    def _shuffle(self) -> None:
        """Change the order of tasks between which nothing else runs."""
        ready = self._ready
        if len(ready) < 2:
            return
        handles = list(ready)
        ready.clear()
        group: list[asyncio.Handle] = []
        for handle in handles:
            if _is_step(handle):
                group.append(handle)
                continue
            self._random.shuffle(group)
            ready.extend(group)
            group.clear()
            ready.append(handle)
        self._random.shuffle(group)
        ready.extend(group)

    def _explain(self, what: str) -> str:
        """Say what is wrong, and where each task waits."""
        lines = sorted(
            f"  {task.get_name()}: {_place(task)}" for task in asyncio.all_tasks(self)
        )
        return "\n".join([what, *lines])

    # --- threads ----------------------------------------------------------------------

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Schedule a callback, from the thread of the loop only.

        Raises:
            RuntimeError: Another thread called it.
        """
        if self._thread_id not in (None, threading.get_ident()):
            msg = (
                "Another thread called a simulated event loop, which does not wait for"
                " threads: pass the function to asyncio.to_thread(), and use its result"
            )
            raise RuntimeError(msg)
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[..., T],
        *args: Any,
    ) -> asyncio.Future[T]:
        """Call a function in a thread, and wait for it; no simulated time passes."""
        if executor is None:
            if self._executor is None:
                self._executor = concurrent.futures.ThreadPoolExecutor(1, "simulated")
            executor = self._executor
        outcome = executor.submit(func, *args)
        concurrent.futures.wait([outcome])
        return asyncio.wrap_future(outcome, loop=self)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the thread of `run_in_executor`, in which nothing runs."""
        self._end_thread()

    def close(self) -> None:
        """Close the loop; it must not be running."""
        super().close()
        self._end_thread()

    def _end_thread(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


_STILL: Final = (
    "The simulation stands still: every task waits, and no timer is set that could wake"
    " one of them:"
)
_BUSY: Final = (
    f"The simulation had {MAXIMUM_TURNS:,} turns of the event loop in which no time"
    " passed. If a task waits with asyncio.sleep(0) for a later time, let it sleep"
    " longer:"
)


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> Any:
        msg = (
            "A simulation has no sockets, subprocesses or signal handlers, and so no"
            f" loop.{name}(). Connect with"
            ' Client(broker.name, transport="memory") to a Broker(None)'
        )
        raise RuntimeError(msg)

    refuse.__name__ = name
    return refuse


for _name in ABSENT:
    setattr(VirtualLoop, _name, _refuse(_name))


def _is_step(handle: asyncio.Handle) -> bool:
    """Whether a handle runs a task until it waits."""
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    name = getattr(callback, "__name__", "")
    return name in STEPS and isinstance(
        getattr(callback, "__self__", None), asyncio.Task
    )


def _place(task: asyncio.Task[Any]) -> str:
    """Return the line of the program at which a task waits."""
    frames = list(_frames(task.get_coro()))
    for frame in reversed(frames):
        path = Path(frame.f_code.co_filename)
        if not any(path.is_relative_to(package) for package in PACKAGES):
            break
    else:
        if not frames:
            return "done"
        frame = frames[-1]
    code = frame.f_code
    return f"{code.co_filename}, line {frame.f_lineno}, in {code.co_name}"


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Iterate over the frames of a coroutine, and of those that it awaits."""
    while awaited is not None:
        for kind, following in (
            ("cr", "cr_await"),
            ("gi", "gi_yieldfrom"),
            ("ag", "ag_await"),
        ):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                awaited = getattr(awaited, following)
                break
        else:
            return
