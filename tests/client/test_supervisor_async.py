"""The supervisor, with a dialer and a clock of the tests: nothing waits for real."""

import asyncio
import logging

import pytest

from aiomqtt import MqttCodeError, MqttConnectError, MqttError, Properties
from aiomqtt.client.reconnect import Reconnect
from aiomqtt.client.states import StateJournal
from aiomqtt.client.supervisor_async import Supervisor
from aiomqtt.log import SafeLogger
from aiomqtt.properties import ReasonCode
from tests.until import until


class Clock:
    """A clock that only moves when somebody waits; it does not wait itself."""

    def __init__(self):
        self.now = 1000.0
        self.waited = []
        # Set by a test that wants a delay to last until `interrupt`.
        self.holds = False
        self._held = None

    def time(self):
        return self.now

    async def wait(self, seconds):
        self.waited.append(seconds)
        if self.holds:
            self._held = asyncio.get_running_loop().create_future()
            await self._held
        else:
            self.now += seconds

    def interrupt(self):
        if self._held is not None and not self._held.done():
            self._held.set_result(None)


class Dialer:
    """Plays a script: of attempts, and of how long each connection lasts."""

    follows_redirections = False

    def __init__(self, clock, *script):
        self.clock = clock
        self.script = list(script)
        self.attempts = 0
        self.returns = []
        self.asked = 0

    async def connect(self):
        self.attempts += 1
        await asyncio.sleep(0)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step == "resumed"

    async def wait_until_lost(self, timeout):
        await asyncio.sleep(0)
        if not self.script:
            await asyncio.get_running_loop().create_future()
        seconds, error = self.script[0]
        if timeout is not None and timeout < seconds:
            self.clock.now += timeout
            self.script[0] = seconds - timeout, error
            return None
        self.clock.now += seconds
        self.script.pop(0)
        return error

    async def returns_to_first(self):
        self.asked += 1
        returns = self.returns.pop(0)
        if returns:
            self.script.pop(0)
        return returns


def lost(seconds, error=None):
    """A connection that lasted so long."""
    return seconds, error or MqttError("Connection to HOST lost: the broker closed it")


def refused(code=0x88):
    return MqttConnectError(ReasonCode(code))


def closed(code):
    return MqttCodeError(ReasonCode(code), "Disconnected by the broker")


UNREACHABLE = MqttError("Could not connect to HOST: refused")


class Journal(StateJournal):
    """A journal that keeps everything."""

    def __init__(self):
        super().__init__()
        self.changes = []

    def report(self, change):
        super().report(change)
        self.changes.append(change)


class Supervised:
    """A supervisor of a script, and what it did."""

    def __init__(self, *script, random=lambda: 1.0, **rules):
        self.clock = Clock()
        self.dialer = Dialer(self.clock, *script)
        self.journal = Journal()
        logger = SafeLogger(logging.getLogger("mqtt"))
        self.supervisor = Supervisor(
            self.dialer, Reconnect(**rules), self.journal, logger, self.clock, random
        )

    async def run(self):
        """Enter, and run until it stops; return the error."""
        await self.supervisor.enter()
        return await self.supervisor.run()

    @property
    def changes(self):
        return self.journal.changes

    @property
    def delays(self):
        return self.clock.waited


STOPS = refused(0x87)


async def test_a_lost_connection_is_made_again():
    it = Supervised("new", lost(100), "resumed", lost(5), "new", lost(1), STOPS)
    assert await it.run() is STOPS
    assert it.dialer.attempts == 4
    # The second was not stable, so the delay went on growing.
    assert it.delays == [1, 2, 4]
    assert [
        (str(one.state), one.attempt, one.delay, one.session_present)
        for one in it.changes
    ] == [
        ("connecting", 1, None, None),
        ("connected", 1, None, False),
        ("waiting", 0, 1, None),
        ("connecting", 1, None, None),
        ("connected", 1, None, True),
        ("waiting", 0, 2, None),
        ("connecting", 1, None, None),
        ("connected", 1, None, False),
        ("waiting", 0, 4, None),
        ("connecting", 1, None, None),
    ]  # fmt: skip
    causes = [one.cause for one in it.changes]
    assert causes[0] is causes[1] is None
    assert str(causes[2]) == "Connection to HOST lost: the broker closed it"
    assert causes[2] is causes[3] is causes[4]


async def test_failed_attempts_wait_longer_and_longer():
    it = Supervised("new", lost(100), *[UNREACHABLE] * 8, "new", lost(31), STOPS)
    assert await it.run() is STOPS
    assert it.delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 1]
    assert [one.attempt for one in it.changes if one.delay is not None] == [
        *range(9),
        0,
    ]


@pytest.mark.parametrize(("seconds", "expected"), [(29.9, 2), (30, 1)])
async def test_the_delay_begins_again_only_after_a_stable_connection(seconds, expected):
    it = Supervised("new", lost(99), "new", lost(seconds), STOPS)
    await it.run()
    assert it.delays == [1, expected]


async def test_delays_have_full_jitter():
    numbers = iter([0.0, 0.5, 0.25])
    script = ["new", lost(1), UNREACHABLE, UNREACHABLE, STOPS]
    it = Supervised(*script, random=lambda: next(numbers))
    await it.run()
    assert it.delays == [0, 1, 1]


@pytest.mark.parametrize("code", [0x89, 0x97, 0x9F])
async def test_an_overloaded_broker_gets_the_longest_delay(code):
    it = Supervised("new", lost(99, closed(code)), refused(code), UNREACHABLE, STOPS)
    await it.run()
    assert it.delays == [60, 60, 60]


@pytest.mark.parametrize("code", [0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C])
async def test_a_refusal_that_will_not_change_stops(code):
    error = refused(code)
    it = Supervised("new", lost(99), error)
    assert await it.run() is error
    assert it.dialer.attempts == 2
    assert error.__notes__ == ["No further attempt: see aiomqtt.Reconnect."]


async def test_a_client_that_was_taken_over_stays_away():
    error = closed(0x8E)
    it = Supervised("new", lost(99, error))
    assert await it.run() is error
    assert it.dialer.attempts == 1


async def test_a_client_that_comes_back_after_a_takeover_is_slower_each_time():
    script = ["new", lost(0.1, closed(0x8E))] * 8
    it = Supervised(*script, STOPS, takeover="retry")
    await it.run()
    assert it.delays == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_after_so_many_failed_attempts_it_stops():
    last = MqttError("Could not connect to HOST: the last time")
    it = Supervised("new", lost(99), UNREACHABLE, UNREACHABLE, last, attempts=3)
    assert await it.run() is last
    assert last.__notes__ == ["No further attempt: 3 in a row failed."]
    assert it.dialer.attempts == 4


async def test_a_connection_ends_the_row_of_failed_attempts():
    script = ["new", lost(1), UNREACHABLE] * 3
    it = Supervised(*script, "new", lost(1), STOPS, attempts=2)
    assert await it.run() is STOPS


# --- entering ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [UNREACHABLE, refused(0x86), ValueError("will")])
async def test_the_first_failure_is_raised(error):
    asked: list[MqttError] = []
    it = Supervised(error, decide=asked.append)
    with pytest.raises(type(error)) as caught:
        await it.supervisor.enter()
    assert caught.value is error
    assert it.delays == asked == []


async def test_with_initial_entering_keeps_trying():
    it = Supervised(UNREACHABLE, UNREACHABLE, "new", initial=True)
    await it.supervisor.enter()
    assert it.delays == [1, 2]
    assert it.changes[-1].attempt == 3


@pytest.mark.parametrize(
    ("script", "rules"),
    [
        ([UNREACHABLE, STOPS], {}),
        ([UNREACHABLE, TypeError("credentials")], {}),
        ([UNREACHABLE, UNREACHABLE], {"attempts": 2}),
        ([UNREACHABLE], {"decide": lambda cause: "stop"}),
    ],
)
async def test_with_initial_entering_raises_when_it_stops(script, rules):
    it = Supervised(*script, initial=True, **rules)
    with pytest.raises(type(script[-1])) as caught:
        await it.supervisor.enter()
    assert caught.value is script[-1]


# --- deciding ----------------------------------------------------------------------


async def test_the_program_decides():
    asked = []

    def decide(cause):
        asked.append(cause)
        return answers.pop(0)

    answers = ["slow", None, "retry", "stop"]
    error, last = refused(0x86), closed(0x00)
    script = ["new", lost(99), UNREACHABLE, error, "new", lost(99, last)]
    it = Supervised(*script, decide=decide)
    assert await it.run() is last
    # A refusal, which would have stopped, is tried again.
    assert it.delays == [60, 60, 60]
    assert asked[1:] == [UNREACHABLE, error, last]


@pytest.mark.parametrize(
    ("answer", "match", "cause"),
    [
        (KeyError("secret"), "^The callable for decide raised KeyError$", KeyError),
        ("wait", "must return \"retry\", .*, not 'wait'", TypeError),
        (["retry"], "must return \"retry\", .*, not \\['retry'\\]", TypeError),
    ],
)
async def test_a_decision_that_fails_stops_with_its_error(answer, match, cause):
    def decide(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    error = await Supervised("new", lost(99), decide=decide).run()
    with pytest.raises(MqttError, match=match):
        raise error
    assert type(error.__cause__) is cause


def redirection(kind=MqttCodeError):
    error = kind(ReasonCode(0x9C), "Disconnected by the broker")
    error.properties = Properties(server_reference="other")
    return error


async def test_a_redirection_stops_if_the_client_does_not_follow_any():
    error = redirection()
    assert await Supervised("new", lost(99, error)).run() is error


async def test_a_redirection_is_followed_at_once_but_not_in_circles():
    script = [step for _ in range(4) for step in ("new", lost(0.1, redirection()))]
    it = Supervised(*script, STOPS)
    it.dialer.follows_redirections = True
    await it.run()
    assert it.delays == [0, 1, 2, 4]


async def test_wrong_values_of_callables_stop():
    wrong = TypeError("the callable for credentials must return a tuple")
    error = await Supervised("new", lost(99), wrong).run()
    assert str(error) == f"Could not connect again: {wrong}"
    assert error.__cause__ is wrong


# --- delays ------------------------------------------------------------------------


async def test_retry_now_ends_a_delay():
    it = Supervised("new", lost(99), "new")
    it.clock.holds = True
    it.supervisor.retry_now()  # there is none yet
    task = asyncio.ensure_future(it.run())
    await until(lambda: it.delays)
    assert it.dialer.attempts == 1
    it.supervisor.retry_now()
    await until(lambda: it.dialer.attempts == 2)
    task.cancel()


@pytest.mark.parametrize("initial", [False, True])
async def test_it_can_be_cancelled_at_each_step(initial):
    """At each turn of the loop it ends at once, and makes no further attempt."""
    script = ["new", lost(1), UNREACHABLE, UNREACHABLE, "new"]
    for turns in range(1, 12):
        it = Supervised(*([UNREACHABLE] * initial), *script, initial=initial)
        task = asyncio.ensure_future(it.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        attempts = it.dialer.attempts
        await asyncio.sleep(0)
        assert it.dialer.attempts == attempts


async def test_an_unexpected_error_is_not_swallowed():
    with pytest.raises(LookupError):
        await Supervised("new", lost(1), LookupError()).run()


# --- returning to the first address ------------------------------------------------


async def test_a_client_on_a_fallback_returns_to_the_first_address():
    it = Supervised("new", lost(1000), "resumed", lost(1), STOPS, return_to_first=300)
    it.dialer.returns = [False, True]
    await it.run()
    assert it.dialer.asked == 2
    # It goes there at once.
    assert it.delays == [1]
    states = [str(one.state) for one in it.changes[1:4]]
    assert states == ["connected", "connecting", "connected"]
    assert it.changes[2].cause is None


async def test_it_does_not_ask_for_the_first_address_by_default():
    it = Supervised("new", lost(10_000), STOPS)
    await it.run()
    assert it.dialer.asked == 0


# --- the log -----------------------------------------------------------------------


async def test_each_new_reason_is_a_warning(caplog):
    caplog.set_level("INFO", logger="mqtt")
    script = ["new", lost(99), UNREACHABLE, UNREACHABLE, "new", lost(1), UNREACHABLE]
    await Supervised(*script, STOPS).run()
    said = "Connection to HOST lost: the broker closed it: connecting again in"
    failed = "Could not connect to HOST: refused: connecting again in"
    assert {one.mqtt_event for one in caplog.records} == {"reconnecting"}
    assert [one.mqtt_delay for one in caplog.records] == [1, 2, 4, 8, 16]
    assert [one.mqtt_attempt for one in caplog.records] == [0, 1, 2, 0, 1]
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("WARNING", f"{said} 1.0 seconds"),
        ("WARNING", f"{failed} 2.0 seconds"),
        ("INFO", f"{failed} 4.0 seconds"),
        ("WARNING", f"{said} 8.0 seconds"),
        ("WARNING", f"{failed} 16.0 seconds"),
    ]
