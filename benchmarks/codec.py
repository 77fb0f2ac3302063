"""Measure the codec per packet, with pyperf: `python benchmarks/codec.py`.

The interpreter that runs it needs this checkout and pyperf (`pip install . pyperf`).
Every figure is the time of one packet.
"""

from __future__ import annotations

import pyperf

from aiomqtt.properties import Properties
from aiomqtt.protocol.codec.decode import decode
from aiomqtt.protocol.codec.encode import encode
from aiomqtt.protocol.codec.fast import encode_ack, encode_publish
from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Publish
from aiomqtt.standard.tables import ProtocolVersion, Role
from aiomqtt.topic import Topic

V311 = ProtocolVersion.V311
V5 = ProtocolVersion.V5

TOPIC = "bench/temperature"
PAYLOAD = b"x" * 64

# Packets of one chunk, which the decoder gets in one call; about what a read returns.
CHUNK = 1000

PUBACK = 0x40


def publish_of(
    qos: int, version: ProtocolVersion, properties: Properties | None
) -> bytes:
    head, tail = encode_publish(
        TOPIC, PAYLOAD, qos, False, properties, version, Role.SERVER
    )
    return head + (b"\x00\x01" if qos else b"") + tail


def request_properties() -> Properties:
    """Return the properties of a typical request with a response topic."""
    return Properties(
        content_type="application/json",
        response_topic="bench/response",
        correlation_data=b"12345678",
        user_property=[("traceparent", "00-0af7651916cd43dd-b7ad6b71-01")],
    )


def bench_decoder(
    runner: pyperf.Runner, name: str, version: ProtocolVersion, packet: bytes
) -> None:
    decoder = Decoder(version, Role.SERVER)
    # Fail here: to refuse a packet would be fast.
    if len(decoder.feed(packet)) != 1 or decoder.error is not None:
        raise RuntimeError(f"{name}: {decoder.error}")
    runner.bench_func(name, decoder.feed, packet * CHUNK, inner_loops=CHUNK)


def bench_decoding(runner: pyperf.Runner) -> None:
    properties = request_properties()
    bench_decoder(runner, "decode PUBLISH, QoS 0", V311, publish_of(0, V311, None))
    bench_decoder(runner, "decode PUBLISH, QoS 1", V311, publish_of(1, V311, None))
    bench_decoder(runner, "decode PUBLISH, QoS 0, 5.0", V5, publish_of(0, V5, None))
    bench_decoder(
        runner,
        "decode PUBLISH, QoS 0, 5.0, 4 properties",
        V5,
        publish_of(0, V5, properties),
    )
    bench_decoder(runner, "decode PUBACK", V311, encode_ack(PUBACK, 1))
    packet = publish_of(0, V311, None)
    runner.bench_func(
        "decode PUBLISH, QoS 0, by the table",
        decode,
        packet[0],
        packet[2:],
        V311,
        Role.SERVER,
    )


def bench_encoding(runner: pyperf.Runner) -> None:
    for name, qos, version, properties in (
        ("encode PUBLISH, QoS 0", 0, V311, None),
        ("encode PUBLISH, QoS 1", 1, V311, None),
        ("encode PUBLISH, QoS 0, 5.0", 0, V5, None),
        ("encode PUBLISH, QoS 0, 5.0, 4 properties", 0, V5, request_properties()),
    ):
        runner.bench_func(
            name,
            encode_publish,
            TOPIC,
            PAYLOAD,
            qos,
            False,
            properties,
            version,
            Role.CLIENT,
        )
    runner.bench_func("encode PUBACK", encode_ack, PUBACK, 1)
    message = Publish(Topic(TOPIC), PAYLOAD, 0, False, 0, None, False)
    runner.bench_func(
        "encode PUBLISH, QoS 0, by the table", encode, message, V311, Role.CLIENT
    )


if __name__ == "__main__":
    runner = pyperf.Runner()
    bench_decoding(runner)
    bench_encoding(runner)
