"""Tests in simulated time: the clock of client and broker, and the seed."""

import asyncio
import contextlib
import logging
import os
import random
import subprocess
import sys
import uuid
from typing import Any

import pytest

import aiomqtt
from aiomqtt.testing import RecordingBroker, simulate

# --- the time of client and broker ----------------------------------------------------


@simulate()
async def test_the_keep_alive_of_a_day(caplog):
    caplog.set_level(logging.DEBUG, "mqtt")
    async with (
        aiomqtt.Broker(None, sys_interval=0) as broker,
        aiomqtt.Client(broker.name, transport="memory", keepalive=600) as client,
    ):
        await asyncio.sleep(86_400)
        assert client.is_connected()
    pings = [text for text in caplog.messages if "PINGREQ" in text]
    # One every ten minutes at least, and not many more.
    assert 86_400 / 600 - 1 <= len(pings) <= 86_400 / 600 * 1.5


@simulate()
async def test_a_broker_that_answers_no_ping():
    loop = asyncio.get_running_loop()
    async with aiomqtt.Broker(None) as broker:
        client = aiomqtt.Client(broker.name, transport="memory", keepalive=600)
        async with client:
            broker.pause()
            with pytest.raises(aiomqtt.MqttError):
                await anext(client.messages)
            # It asked within the keep alive, and then waited for the answer.
            assert 600 < loop.time() <= 1.5 * 600
            broker.resume()


@simulate()
async def test_expiry_and_sessions_follow_the_time():
    properties = aiomqtt.Properties()
    properties.message_expiry_interval = 3600
    connect = aiomqtt.Properties()
    connect.session_expiry_interval = 86_400
    async with aiomqtt.Broker(None) as broker:

        def subscriber():
            return aiomqtt.Client(
                *(broker.name,),
                transport="memory",
                identifier="s",
                protocol=5,
                clean_start=False,
                properties=connect,
            )

        async with subscriber() as client:
            await client.subscribe("t", qos=1)
        async with aiomqtt.Client(
            broker.name, transport="memory", protocol=5
        ) as sender:
            await sender.publish("t", "expires", qos=1, properties=properties)
            await sender.publish("t", "stays", qos=1)
        await asyncio.sleep(7200)
        async with subscriber() as client:
            assert (await anext(client.messages)).payload == b"stays"


@simulate()
async def test_a_timeout_of_hours():
    loop = asyncio.get_running_loop()
    async with RecordingBroker(None) as broker:
        with pytest.raises(AssertionError, match="no such message"):
            await broker.assert_published("t", within=7200)
        assert loop.time() == 7200


@simulate()
async def test_a_lost_connection():
    async with (
        aiomqtt.Broker(None) as broker,
        aiomqtt.Client(broker.name, transport="memory") as client,
    ):
        asyncio.get_running_loop().call_later(3600, broker.abort)
        with pytest.raises(aiomqtt.MqttError, match="Disconnected"):
            await anext(client.messages)
        assert asyncio.get_running_loop().time() == 3600


@simulate()
async def test_a_client_for_tcp_says_what_to_do():
    with pytest.raises(RuntimeError, match='transport="memory"'):
        async with aiomqtt.Client("127.0.0.1"):
            pass
    with pytest.raises(RuntimeError, match="Broker.None."):
        async with aiomqtt.Broker():
            pass


# --- the seed -------------------------------------------------------------------------

PROGRAM = """
import asyncio, logging, sys
import aiomqtt
from aiomqtt.testing import simulate

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(f"{asyncio.get_running_loop().time():g} {record.getMessage()}")

lines = []
logger = logging.Logger("trace", logging.DEBUG)
logger.addHandler(Lines())

async def publish(broker, number):
    client = aiomqtt.Client(broker.name, transport="memory", protocol=5, logger=logger)
    async with client:
        for count in range(3):
            await client.publish("t", f"{number} {count}", qos=number % 3)
            await asyncio.sleep(number % 2)

async def main():
    async with aiomqtt.Broker(None, name="b", sys_interval=0, logger=logger) as broker:
        client = aiomqtt.Client(
            broker.name, transport="memory", protocol=3, logger=logger
        )
        async with client, asyncio.TaskGroup() as group:
            await client.subscribe("#", qos=2)
            for number in range(6):
                group.create_task(publish(broker, number))
            for _ in range(18):
                lines.append((await anext(client.messages)).payload.decode())

def trace(seed):
    lines.clear()
    simulate(seed=seed)(main)()
    return list(lines)
"""


def trace_function():
    names = {"__name__": "program"}
    exec(PROGRAM, names)
    return names["trace"]


def test_the_seed_determines_every_step():
    trace = trace_function()
    traces = [trace(seed) for seed in range(8)]
    assert all(len(lines) > 100 for lines in traces)
    assert traces == [trace(seed) for seed in range(8)]
    assert len({tuple(lines) for lines in traces}) == 8


def test_another_process_makes_the_same_steps():
    # The order of a set of strings is another one there.
    result = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\nprint('\\n'.join(trace(5)))"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == trace_function()(5)


@pytest.mark.parametrize("fails", ["resume", "abort"])
def test_many_clients_at_once_go_on_in_the_same_order(fails):
    """The order must not be that of addresses in memory."""

    async def publish(broker, number):
        name = str(number)
        while True:
            client = aiomqtt.Client(broker.name, transport="memory", identifier=name)
            with contextlib.suppress(aiomqtt.MqttError):
                async with client:
                    await asyncio.sleep(1)
                    await client.publish("t", number, qos=1)
                    return

    async def main():
        async with RecordingBroker(None) as broker, asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(publish(broker, number))
            await asyncio.sleep(0.5)
            if fails == "abort":
                broker.abort()
            else:
                broker.pause()
                await asyncio.sleep(1)
                broker.resume()
        return [message.payload for message in broker.published("t")]

    orders = [simulate(seed=1)(main)() for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == 30


def test_many_calls_of_a_client_fail_in_the_same_order():
    async def publish(client, number, order):
        with contextlib.suppress(aiomqtt.MqttError):
            await client.publish("t", number, qos=1)
        order.append(number)

    async def main():
        order: list[int] = []
        async with aiomqtt.Broker(None) as broker:
            client = aiomqtt.Client(broker.name, transport="memory")
            with contextlib.suppress(aiomqtt.MqttError):
                async with client, asyncio.TaskGroup() as group:
                    broker.pause()
                    for number in range(30):
                        group.create_task(publish(client, number, order))
                    await asyncio.sleep(1)
                    broker.abort()
        return order

    orders = [simulate(seed=1)(main)() for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0]) == list(range(30))


def test_the_seed_determines_the_random_numbers():
    async def draw():
        return random.random(), os.urandom(8), str(uuid.uuid4())

    main = simulate(seed=3)(draw)
    before = random.getstate(), os.urandom
    first = main()
    assert first == main()
    assert first != simulate(seed=4)(draw)()
    assert (random.getstate(), os.urandom) == before


def test_a_failure_names_its_seed_and_restores_the_random_numbers():
    @simulate(seed=41)
    async def main():
        random.random()
        await asyncio.sleep(1)
        raise ZeroDivisionError

    before = random.getstate(), os.urandom
    with pytest.raises(ZeroDivisionError) as caught:
        main()
    assert caught.value.__notes__ == [
        "In a simulation: to repeat it, use simulate(seed=41)"
    ]
    assert (random.getstate(), os.urandom) == before


def running_seed():
    loop: Any = asyncio.get_running_loop()
    return loop.seed


def test_a_failure_in_one_of_several_runs():
    seeds = []

    @simulate(seed=10, runs=5)
    async def main():
        seeds.append(running_seed())
        assert len(seeds) < 3

    with pytest.raises(AssertionError) as caught:
        main()
    assert seeds == [10, 11, 12]
    assert "simulate(seed=12)" in caught.value.__notes__[-1]


def test_without_a_seed_each_call_has_another():
    seeds = []

    @simulate(seed=None, runs=2)
    async def main():
        seeds.append(running_seed())

    main()
    main()
    assert seeds[1] == seeds[0] + 1
    assert seeds[2] != seeds[0]


def test_the_runs_find_an_order_that_is_wrong():
    """A program that is right only if its tasks run in the order of asyncio."""

    def wrong(seed, runs):
        @simulate(seed=seed, runs=runs)
        async def main():
            seen = []

            async def work(name):
                seen.append(name)

            await asyncio.gather(work(1), work(2))
            assert seen == [1, 2]

        return main

    with pytest.raises(AssertionError) as caught:
        wrong(0, 50)()
    (note,) = caught.value.__notes__
    seed = int(note.rpartition("=")[2].rstrip(")"))
    with pytest.raises(AssertionError):
        wrong(seed, 1)()


# --- the function ---------------------------------------------------------------------


@simulate
async def test_without_parentheses():
    await asyncio.sleep(3600)


@pytest.fixture
def value():
    return 7


@pytest.mark.parametrize("factor", [2, 3])
@simulate(seed=1)
async def test_fixtures_and_parameters_are_passed(value, factor):
    assert value * factor in (14, 21)


def test_arguments_and_result():
    @simulate(seed=1, runs=2)
    async def add(first: int, *, second: int) -> int:
        """Add."""
        await asyncio.sleep(1)
        return first + second

    assert add(1, second=2) == 3
    assert (add.__name__, add.__doc__) == ("add", "Add.")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"seed": "1"}, TypeError, "seed must be an int, not str"),
        ({"seed": True}, TypeError, "seed must be an int, not bool"),
        ({"runs": None}, TypeError, "runs must be an int, not NoneType"),
        ({"runs": 0}, ValueError, "runs must be 1 or more, not 0"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        simulate(**arguments)


def test_only_coroutine_functions():
    with pytest.raises(TypeError, match="takes an `async def` function"):
        simulate(seed=1)(print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes an `async def` function"):
        simulate(3)  # type: ignore[call-overload]


async def test_it_is_refused_in_an_event_loop():
    with pytest.raises(RuntimeError, match="one is running here"):
        simulate()(asyncio.sleep)(1)
