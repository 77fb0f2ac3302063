"""Rules for every test: both event loops, nothing left behind, known statements."""

import asyncio
import gc
import inspect
import itertools
import math
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests import statements
from tests.certificates import Certificates, make_certificates

# --- event loops ---------------------------------------------------------------

# In debug mode asyncio notes for each future and callback the stack that made it: of
# depth 10, but where it is written in C all of it, with pytest's own. That took more
# time than the tests. So these show who made it; their text is read if it is shown.
STACK = 5


def end_of_stack(
    frames: Iterable[tuple[FrameType, int]], **_: object
) -> traceback.StackSummary:
    ends = itertools.islice(frames, STACK)
    return traceback.StackSummary(
        traceback.FrameSummary(
            frame.f_code.co_filename, line, frame.f_code.co_name, lookup_line=False
        )
        for frame, line in ends
    )


traceback.StackSummary.extract = end_of_stack  # type: ignore[method-assign, assignment]

LOOPS = {"asyncio": ("asyncio", {"debug": True, "use_uvloop": False})}
if sys.platform != "win32":  # where there is no uvloop
    LOOPS["uvloop"] = ("asyncio", {"use_uvloop": True})
# The only one to run on; every one if this is not set.
if ONLY_LOOP := os.environ.get("AIOMQTT_TEST_LOOP"):
    LOOPS = {ONLY_LOOP: LOOPS[ONLY_LOOP]}


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The event loop of an asynchronous test, which runs once on each of them."""
    return request.param


@pytest.fixture(params=[3, 4, 5], ids=["3.1", "3.1.1", "5.0"])
def version(request: pytest.FixtureRequest) -> int:
    """The protocol level of each version of MQTT."""
    level: int = request.param
    return level


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of an authority, a server, a client, ...; made once."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


# --- signals -------------------------------------------------------------------

# What a shell starts in the background ignores SIGINT, and so would the programs that
# tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# --- nothing is left behind ----------------------------------------------------

# How many seconds a busy machine may need to close what is about to be closed.
PATIENCE = 5.0


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """Give every asynchronous test the check inside its event loop.

    An autouse fixture would do the same to synchronous tests, and run each of
    them once per event loop.
    """
    if not collector.istestfunction(obj, name):
        return
    inner = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
    if inspect.iscoroutinefunction(inner):
        pytest.mark.usefixtures("nothing_left_running")(obj)


@pytest.fixture
async def nothing_left_running(anyio_backend: Any) -> AsyncIterator[None]:
    """Fail a test that leaves a task or a socket to its event loop.

    It is set up before the test's own fixtures and torn down after them.
    """
    # In debug mode asyncio warns of a step that took 0.1 s, which on a busy machine any
    # may do, and tests assert that nothing was logged.
    asyncio.get_running_loop().slow_callback_duration = math.inf
    before = asyncio.all_tasks()
    sockets = open_sockets()
    yield
    # A task that is about to end, as one that was cancelled, may need a turn.
    for _ in range(3):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not of_runner(task)]
    if left:
        text = "\n".join(f"  {task!r}" for task in left)
        pytest.fail(f"tasks are still running:\n{text}", pytrace=False)
    deadline = time.monotonic() + PATIENCE
    # Compared by number, because uvloop makes its own ones anew for each run.
    while len(left_open := open_sockets()) > len(sockets):
        if time.monotonic() > deadline:
            # uvloop warns of each when it closes, and hangs if that raises.
            warnings.simplefilter("ignore", ResourceWarning)
            new = left_open - sockets
            pytest.fail(f"sockets are still open, among: {new}", pytrace=False)
        await asyncio.sleep(0.01)


def of_runner(task: asyncio.Task[Any]) -> bool:
    """Whether it is a task of anyio's, which runs the test and its fixtures."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket.

    By then the event loop is closed, with its own sockets and threads.
    """
    if next(tests_begun) % TESTS_PER_FREEZE == 0:
        freeze()
    threads = set(threading.enumerate())
    sockets = open_sockets()
    yield
    if "anyio_backend" in request.fixturenames:
        # Runs the finalizers now, so that a warning ("unclosed transport", "task
        # was destroyed") fails the test that caused it, not a later one.
        gc.collect()
    deadline = time.monotonic() + PATIENCE
    while left := set(threading.enumerate()) - threads:
        if time.monotonic() > deadline:
            pytest.fail(f"threads are still running: {left}", pytrace=False)
        time.sleep(0.01)
    if left_open := open_sockets() - sockets:
        pytest.fail(f"sockets are still open: {left_open}", pytrace=False)


def open_sockets() -> set[str]:
    """This process's sockets by file descriptor and inode; empty without /proc."""
    found: set[str] = set()
    # With `Path` it would take four times as long, several times in each test.
    try:
        names = os.listdir("/proc/self/fd")  # noqa: PTH208
    except FileNotFoundError:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:  # the one that listed them
            continue
        if target.startswith("socket:"):
            found.add(f"fd {name} {target}")
    return found


# Reports of the tests that ran, and modules that they imported, live on. After some
# thousands of tests, a collection would take 50 ms for them instead of one.
TESTS_PER_FREEZE = 50
tests_begun = itertools.count()


def freeze() -> None:
    """Leave what lives now out of later collections, so that they are cheap.

    What the tests before left behind is garbage by then.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    freeze()  # what the imports made


# --- what CI runs once ---------------------------------------------------------


def leave_out(config: pytest.Config, items: list[pytest.Item], build: str) -> None:
    """Leave out the tests that CI runs once, on another build than this."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        once = item.get_closest_marker("once")
        (kept if once is None or build in once.args else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


# --- conformance ---------------------------------------------------------------

tested_statements = pytest.StashKey[set[statements.Statement]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[tested_statements] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--build",
        choices=("pure", "compiled"),
        help="leave out the tests that CI runs once, on the other build",
    )
    parser.addoption(
        "--conformance-report",
        action="store_true",
        help="list the normative statements that no collected test names",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if build := config.getoption("--build"):
        leave_out(config, items, build)
    tested = config.stash[tested_statements]
    for item in items:
        for marker in item.iter_markers("conformance"):
            try:
                tested.update(statements.marked(*marker.args, **marker.kwargs))
            except (TypeError, ValueError) as error:
                raise pytest.UsageError(
                    f"{item.nodeid}: conformance: {error}"
                ) from None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("--conformance-report"):
        tested = config.stash[tested_statements]
        terminalreporter.section("statements without a test")
        for line in statements.report(tested):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def unnumbered_rules() -> list[statements.Row]:
    """The rules of 5.0 without a number: section, packet, rule, reason_code."""
    return statements.unnumbered()
