"""When bytes arrive through a simulated network, without one and without waiting."""

import itertools
import random

import pytest

from aiomqtt.testing import BROKER, CLIENT, NetworkConditions
from aiomqtt.testing.link import LARGEST_PIECE, LARGEST_WINDOW, SEGMENT, Link, Stalls
from aiomqtt.testing.sender import Sender

START = 1000.0


def link(sender: Sender = CLIENT, seed: str = "1", /, **values: float) -> Link:
    return Link(NetworkConditions(**values), sender, seed, START)


def test_without_conditions_bytes_arrive_at_once():
    assert link().arrival(10**9, START + 1) == START + 1


def test_bytes_travel_together():
    network = link(latency=0.5)
    for _ in range(3):
        assert network.arrival(1000, START) == START + 0.5
    assert network.arrival(1000, START + 0.25) == START + 0.75


@pytest.mark.parametrize(("sender", "seconds"), [(CLIENT, 0.5), (BROKER, 0.25)])
def test_bytes_leave_one_after_another(sender, seconds):
    network = link(sender, upload=2000, download=4000, latency=1)
    assert network.arrival(1000, START) == START + seconds + 1
    assert network.arrival(1000, START) == START + 2 * seconds + 1
    # After a pause nothing waits any more, and nothing was saved up.
    assert network.arrival(1000, START + 100) == START + 100 + seconds + 1


def test_jitter_is_within_its_bounds_and_keeps_the_order():
    network = link(latency=0.1, jitter=0.2)
    arrivals = [network.arrival(1, START + n * 0.01) for n in range(1000)]
    assert arrivals == sorted(arrivals)
    delays = [arrival - START - n * 0.01 for n, arrival in enumerate(arrivals)]
    assert min(delays) >= 0.1
    assert max(delays) <= 0.3 + 1e-9
    # Bytes far apart don't wait for each other.
    alone = [network.arrival(1, START + n) - START - n for n in range(100, 1100)]
    assert 0.19 < sum(alone) / len(alone) < 0.21


def test_the_seed_determines_the_jitter():
    def arrivals(seed: str, sender: Sender = CLIENT) -> list[float]:
        network = link(sender, seed, latency=0.1, jitter=0.2)
        return [network.arrival(1, START + n) for n in range(100)]

    assert arrivals("1") == arrivals("1")
    assert arrivals("1") != arrivals("2")
    assert arrivals("1") != arrivals("1", BROKER)


def test_both_directions_stall_at_the_same_times():
    values = {"stall_interval": 10.0, "stall_duration": 2.0}
    client, broker = link(CLIENT, **values), link(BROKER, **values)
    times = [START + n * 0.1 for n in range(10_000)]
    arrivals = [client.arrival(1, when) for when in times]
    # Whatever the traffic of the other direction is.
    assert [broker.arrival(1, when) for when in times[::7]] == arrivals[::7]
    waits = [arrival - when for arrival, when in zip(arrivals, times, strict=True)]
    assert max(waits) <= 2
    stalled = sum(wait > 0 for wait in waits) / len(waits)
    # 2 of 12 seconds.
    assert 0.1 < stalled < 0.25


def test_bytes_wait_for_the_end_of_a_stall():
    conditions = NetworkConditions(stall_interval=10, stall_duration=2)
    stalls = Stalls(conditions, random.Random(1), START)
    first = next(
        when for when in itertools.count(START, 0.01) if stalls.next_time(when) > when
    )
    end = stalls.next_time(first)
    assert end == pytest.approx(first + 2, abs=0.011)
    assert stalls.next_time(end - 0.001) == end
    assert stalls.next_time(end) == end


def test_a_long_silence_costs_little():
    network = link(stall_interval=0.1, stall_duration=0.1)
    assert START + 3600 <= network.arrival(1, START + 3600) <= START + 3600.1


@pytest.mark.parametrize(
    ("values", "piece", "window"),
    [
        ({}, LARGEST_PIECE, 0),
        ({"latency": 0.1}, LARGEST_PIECE, LARGEST_WINDOW),
        ({"upload": 10}, SEGMENT, 0),
        ({"upload": 1e6, "latency": 0.1}, 10_000, 100_000),
        ({"upload": 1e6, "latency": 0.1, "jitter": 0.3}, 10_000, 400_000),
        ({"upload": 1e9, "latency": 0.1}, LARGEST_PIECE, LARGEST_WINDOW),
    ],
)
def test_how_much_is_on_its_way(values, piece, window):
    network = link(**values)
    assert (network.piece, network.window) == (piece, window)
