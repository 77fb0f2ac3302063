"""Check an installed aiomqtt: `python scripts/smoke.py BUILD`, on any platform.

It sends one message over a socket to a peer that acknowledges it, and another one to
itself through a broker in this process.
"""

import asyncio
import sys

import aiomqtt

CONNACK = b"\x20\x02\x00\x00"


async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a connection and one message with QoS 1."""
    while header := await reader.read(2):
        body = await reader.readexactly(header[1])
        if header[0] >> 4 == 1:
            writer.write(CONNACK)
        elif header[0] >> 4 == 3:
            writer.write(b"\x40\x02" + body[3:5])
    writer.close()


async def through_broker() -> None:
    """Send a message to ourselves through our own broker."""
    async with (
        aiomqtt.Broker() as broker,
        aiomqtt.Client(broker.host, broker.port) as client,
    ):
        await client.subscribe("t/#", 2)
        await client.publish("t/1", b"payload", 2)
        message = await anext(client.messages)
        assert (str(message.topic), message.payload) == ("t/1", b"payload")


async def main(build: str) -> None:
    """Publish, and check that the expected build is running."""
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish("t", b"payload", 1)
        assert await client.publish_many([("t", b"payload", 1)]) == 1
    await through_broker()
    if aiomqtt.__build__ != build:
        sys.exit(f"the build is {aiomqtt.__build__}, not {build}")
    print(f"aiomqtt {aiomqtt.__version__} ({build}) works")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
