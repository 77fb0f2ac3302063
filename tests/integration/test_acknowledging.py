"""Messages that the program acknowledges, on real brokers (NEEDS 11)."""

import asyncio
import sys

import pytest

from tests.integration.programs import client_of, nothing_more, take, unique

# Takes a message and crashes before it has acknowledged it.
CRASHES = """
import asyncio, os, sys
import aiomqtt

async def main():
    async with aiomqtt.Client(
        "127.0.0.1", int(sys.argv[1]), identifier=sys.argv[2], clean_session=False,
        ack=sys.argv[3],
    ) as client:
        async for message in client.messages:
            print(message.payload.decode(), flush=True)
            os._exit(1)

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["processed", "manual"])
async def test_what_a_crashed_program_had_not_acknowledged_comes_again(mosquitto, mode):
    topic, identifier = unique("crash"), unique("crashes")
    async with client_of(mosquitto, persistent=True, identifier=identifier) as client:
        await client.subscribe(topic, 1)
    async with client_of(mosquitto) as publisher:
        for payload in ("first", "second"):
            await publisher.publish(topic, payload, 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASHES, str(mosquitto.port), identifier, mode),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert output == b"first\n"
    again = client_of(mosquitto, persistent=True, identifier=identifier, ack=mode)
    async with again as client:
        messages = await take(client, 2)
        assert [message.payload for message in messages] == [b"first", b"second"]
        for message in messages:
            message.ack()
    async with again as client:
        await nothing_more(client)


async def test_any_order_of_acks_finishes_every_message(broker, version):
    """More messages than a broker has in flight at once."""
    topic, identifier = unique("order"), unique("late")
    late = client_of(
        broker, version, persistent=True, identifier=identifier, ack="manual"
    )
    async with late as client, client_of(broker, version) as publisher:
        await client.subscribe(topic, 2)
        for number in range(60):
            await publisher.publish(topic, number, 1 + number % 2)
        came: list[int] = []
        while len(came) < 60:
            # As many as have come by now, at most ten.
            messages = await take(client, 1)
            messages += await take(client, min(len(client.messages), 9))
            for message in reversed(messages):
                message.ack()
            came += [int(message.payload) for message in messages]
        for first in (0, 1):
            of_one_qos = [number for number in came if number % 2 == first]
            assert of_one_qos == [*range(first, 60, 2)]
    async with late as client:
        await nothing_more(client)
