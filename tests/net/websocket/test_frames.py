"""The reader of frames: cut at each place, and each frame that is not allowed."""

import pytest

from aiomqtt.net.websocket.frames import MAXIMUM_FRAME, FrameReader
from tests.net.websocket.peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    masked_frame,
    unmask,
)

FRAGMENTS = (
    frame(BINARY, b"ab", first=0)
    + frame(CONTINUATION, b"", first=0)
    + frame(PING, b"between")
    + frame(CONTINUATION, b"cd", first=0)
    + frame(CONTINUATION, b"ef")
)
STREAMS = {
    "one": (frame(BINARY, b"abc"), b"abc"),
    "empty": (frame(BINARY), b""),
    "several": (b"".join(frame(BINARY, bytes([n]) * n) for n in range(1, 20)), None),
    "medium": (frame(BINARY, bytes(range(256)) * 2), bytes(range(256)) * 2),
    "long": (frame(BINARY, b"x" * 70_000), b"x" * 70_000),
    "fragments": (FRAGMENTS, b"abcdef"),
    "controls": (
        frame(PONG, b"p") + frame(BINARY, b"a") + frame(PING) + frame(BINARY, b"b"),
        b"ab",
    ),
}


def streams():
    for stream, payload in STREAMS.values():
        if payload is None:
            payload = b"".join(bytes([n]) * n for n in range(1, 20))
        yield stream, payload


@pytest.mark.conformance("5.0", "MQTT-6.0.0-2")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-2")
@pytest.mark.parametrize(("stream", "payload"), [*streams()], ids=[*STREAMS])
def test_a_stream_whole_byte_by_byte_and_cut_once(stream, payload):
    assert FrameReader().feed(stream) == payload
    reader = FrameReader()
    if len(stream) < 1000:
        assert b"".join(reader.feed(bytes([byte])) for byte in stream) == payload
    for cut in range(min(len(stream), 200)):
        reader = FrameReader()
        assert reader.feed(stream[:cut]) + reader.feed(stream[cut:]) == payload
        assert not reader.has_ended()


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 65_535, 65_536, 70_001])
def test_the_frames_of_a_client(size):
    payload = bytes(n & 0xFF for n in range(size))
    stream = masked_frame(BINARY, payload) + masked_frame(BINARY, b"end", b"\xff\0\7\1")
    assert FrameReader(unmask).feed(stream) == payload + b"end"
    # A large one is cut in small pieces in its header only.
    for step in (1, 7, 1000) if size < 1000 else (1000,):
        reader = FrameReader(unmask)
        parts = [stream[at : at + step] for at in range(0, len(stream), step)]
        assert b"".join(map(reader.feed, parts)) == payload + b"end"
    reader = FrameReader(unmask)
    parts = [stream[at : at + 1] for at in range(20)] + [stream[20:]]
    assert b"".join(map(reader.feed, parts)) == payload + b"end"
    reader = FrameReader(unmask)
    assert reader.feed(masked_frame(PING, b"ping") + masked_frame(CLOSE, b"c")) == b""
    assert (reader.ping, reader.close) == (b"ping", b"c")


def test_a_chunk_within_a_frame_is_not_copied():
    reader = FrameReader()
    stream = frame(BINARY, bytes(300_000))
    reader.feed(stream[:1000])
    chunk = stream[1000:200_000]
    assert reader.feed(chunk) is chunk


def test_only_the_last_ping_has_to_be_answered():
    reader = FrameReader()
    reader.feed(frame(PING, b"1") + frame(PING, b"2"))
    assert reader.ping == b"2"


def test_what_follows_a_close_frame_is_ignored():
    reader = FrameReader()
    stream = frame(BINARY, b"a") + frame(CLOSE, b"\3\xe8bye") + frame(BINARY, b"b")
    assert reader.feed(stream) == b"a"
    assert (reader.close, reader.error) == (b"\3\xe8bye", None)
    assert reader.feed(frame(TEXT)) == b""
    assert reader.error is None


START = frame(BINARY, b"a", first=0)
WRONG = {
    "text": (frame(TEXT, b"t"), 1003, "text frame"),
    "text in parts": (frame(TEXT, b"t", first=0), 1003, "text frame"),
    "reserved bit 1": (frame(BINARY, first=0xC0), 1002, "reserved bits"),
    "reserved bit 3": (frame(PING, first=0x90), 1002, "reserved bits"),
    "data opcode": (frame(3), 1002, "unknown opcode 3"),
    "control opcode": (frame(11), 1002, "unknown opcode 11"),
    "masked": (masked_frame(BINARY, b"a"), 1002, "server is masked"),
    "control in parts": (frame(PING, first=0), 1002, "fragmented"),
    "long control": (frame(PING, bytes(126)), 1002, "126 bytes"),
    "end of nothing": (frame(CONTINUATION, b"a"), 1002, "no beginning"),
    "two beginnings": (START + frame(BINARY, b"b"), 1002, "no end"),
    "too large": (b"\x82\x7f" + (MAXIMUM_FRAME + 1).to_bytes(8, "big"), 1009, "large"),
    "sign bit": (b"\x82\x7f" + b"\xff" * 8, 1009, "too large"),
    "too large end": (
        START + b"\x80\x7f" + (MAXIMUM_FRAME + 1).to_bytes(8, "big"),
        1009,
        "too large",
    ),
}


@pytest.mark.conformance("5.0", "MQTT-6.0.0-1")
@pytest.mark.conformance("3.1.1", "MQTT-6.0.0-1")
@pytest.mark.parametrize(("stream", "code", "text"), [*WRONG.values()], ids=[*WRONG])
@pytest.mark.parametrize("step", [1, 1000])
def test_a_frame_that_is_not_allowed(stream, code, text, step):
    reader = FrameReader()
    stream = frame(BINARY, b"before") + stream + frame(BINARY, b"after")
    payload = b"".join(
        reader.feed(stream[at : at + step]) for at in range(0, len(stream), step)
    )
    assert payload in (b"before", b"beforea")
    assert reader.error is not None
    assert reader.error[0] == code
    assert text in reader.error[1]
    # It fits in a Close frame.
    assert len(reader.error[1]) <= 123


def test_a_client_that_masks_nothing():
    reader = FrameReader(unmask)
    assert reader.feed(frame(BINARY, b"a")) == b""
    assert reader.error == (1002, "a frame of the client is not masked")


def test_the_largest_frame():
    reader = FrameReader()
    head = b"\x82\x7f" + MAXIMUM_FRAME.to_bytes(8, "big")
    assert reader.feed(head + b"abc") == b"abc"
    assert not reader.has_ended()
