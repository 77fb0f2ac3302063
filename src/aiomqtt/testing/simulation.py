"""Running a test in simulated time, in a way that its seed determines."""

import asyncio
import contextlib
import functools
import inspect
import os
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Final, ParamSpec, TypeAlias, TypeVar, overload

from .virtual_loop import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")

_Main: TypeAlias = Callable[P, Coroutine[object, object, T]]

# A seed that the system chooses is less than this, so that it is easy to copy.
SEEDS: Final = 2**32


@overload
def simulate(function: _Main[P, T], /) -> Callable[P, T]: ...
@overload
def simulate(
    *, seed: int | None = 0, runs: int = 1
) -> Callable[[_Main[P, T]], Callable[P, T]]: ...
def simulate(
    function: _Main[P, T] | None = None, /, *, seed: int | None = 0, runs: int = 1
) -> Callable[P, T] | Callable[[_Main[P, T]], Callable[P, T]]:
    """Make a coroutine function a function that runs it in simulated time.

    The result is for tests of programs that wait for long: it takes the same arguments,
    runs the coroutine on an event loop of its own, and returns its result. Whenever all
    tasks wait, the time of this loop jumps to the next timer, so that hours of backoff
    or keep alive pass in a moment. Brokers and clients are connected by
    ``transport="memory"``; there are no sockets.

    The seed determines in which order tasks run that are ready at the same time, and
    the random numbers of the modules `random` and `os` (so those of `uuid.uuid4`, too).
    A run with the same seed repeats the same steps. An exception gets a note with the
    seed.

    Args:
        function: The coroutine function. Tests usually write ``@simulate()``.
        seed: The seed of the first run; ``None``: a new one for each call.
        runs: The number of runs; each has the seed of the last one plus 1. The first
            that raises is the last.

    Returns:
        The function; with several runs it returns the result of the last one. It raises
        what the coroutine raises, and a RuntimeError if it is called while an event
        loop runs in this thread, if the tasks wait for something that will never
        happen, or if one of them needs a socket.

    Raises:
        ValueError: `runs` is less than 1.
        TypeError: An argument has a wrong type.
    """
    _check_arguments(seed, runs)

    def decorate(main: _Main[P, T]) -> Callable[P, T]:
        if not inspect.iscoroutinefunction(main):
            msg = (
                "simulate() takes an `async def` function, not"
                f" {type(main).__name__}: write @simulate(seed=1) above it"
            )
            raise TypeError(msg)

        @functools.wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            first = random.SystemRandom().randrange(SEEDS) if seed is None else seed
            for number in range(first, first + runs - 1):
                _run(number, main, *args, **kwargs)
            return _run(first + runs - 1, main, *args, **kwargs)

        # Test runners would await it.
        del run.__wrapped__
        run.__signature__ = inspect.signature(main)  # type: ignore[attr-defined]
        return run

    return decorate if function is None else decorate(function)


def _check_arguments(seed: object, runs: object) -> None:
    for name, value in (("seed", seed), ("runs", runs)):
        if name == "seed" and value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            msg = f"{name} must be an int, not {type(value).__name__}"
            raise TypeError(msg)
    if isinstance(runs, int) and runs < 1:
        msg = f"runs must be 1 or more, not {runs}"
        raise ValueError(msg)


def _run(seed: int, main: _Main[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a coroutine function in simulated time."""
    _check_no_loop_runs()
    try:
        with (
            _seeded(seed),
            asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner,
        ):
            return runner.run(main(*args, **kwargs))
    except BaseException as error:
        error.add_note(f"In a simulation: to repeat it, use simulate(seed={seed})")
        raise


def _check_no_loop_runs() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    msg = (
        "A simulation has an event loop of its own, but one is running here: call the"
        " function from code that is not asynchronous"
    )
    raise RuntimeError(msg)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let a seed determine the random numbers of this process."""
    source = random.Random(f"os {seed}")
    state, urandom = random.getstate(), os.urandom
    random.seed(f"random {seed}")
    os.urandom = source.randbytes
    try:
        yield
    finally:
        os.urandom = urandom
        random.setstate(state)
