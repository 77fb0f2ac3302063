"""What it costs to route a message to one of many streams, in nanoseconds.

Run it with the build to measure: `python benchmarks/routing.py`. It measures
`Router.deliver` alone, in chunks as a read brings them, and takes the best of several
rounds, since other programs only make it slower.
"""

import argparse
import asyncio
import time

from aiomqtt import Message, __build__
from aiomqtt.streams.router import Router
from aiomqtt.streams.stream import MessageStream

CHUNK = 100
ROUNDS = 15


def measure(filters: list[list[str]], topics: list[str]) -> float:
    """Return the nanoseconds per message with one stream for each list of filters."""
    router = Router(MessageStream())
    router.expect()
    router.open(lambda: None)
    queues = [router.add(MessageStream()) for _ in filters]
    for queue, names in zip(queues, filters, strict=True):
        router.route(queue, names)
    messages = [Message(topic, b"21.5", 0, False, 0, None) for topic in topics]
    chunks = [messages[i : i + CHUNK] for i in range(0, len(messages), CHUNK)]
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for chunk in chunks:
            router.deliver(chunk, 0)
        best = min(best, time.process_time_ns() - begun)
        taken = 0
        for queue in queues:
            while queue.stream.pop() is not None:
                taken += 1
        assert taken == len(messages)
    return best / len(messages)


async def main(count: int) -> None:
    topics = [f"device/{number}/state" for number in range(count)]
    cases = {
        "one stream, one topic": ([["device/1/state"]], ["device/1/state"] * count),
        "one stream, many topics": ([topics], topics),
        "one stream, one wildcard": ([["device/+/state"]], topics),
        "one stream, one wildcard, one topic": (
            [["device/1/+"]],
            ["device/1/state"] * count,
        ),
        "many streams, each one topic": ([[topic] for topic in topics], topics),
        "many streams, one of them with messages": (
            [[topic] for topic in topics],
            ["device/1/state"] * count,
        ),
        "many streams, each one wildcard": (
            [[f"device/{number}/+"] for number in range(count)],
            topics,
        ),
        "many streams with wildcards, one with messages": (
            [[f"device/{number}/+"] for number in range(count)],
            ["device/1/state"] * count,
        ),
        "many streams, and one of everything else": (
            [*([topic] for topic in topics), ["other/#"]],
            topics,
        ),
    }
    print(f"{__build__}, {count} topics")
    for name, (filters, sent) in cases.items():
        print(f"{measure(filters, sent):8.0f} ns  {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    asyncio.run(main(parser.parse_args().count))
