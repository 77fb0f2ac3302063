"""The steps in which a connection closes: flush, half-close, linger, cut."""

import asyncio
from typing import Any

import pytest

from aiomqtt.net import closing
from aiomqtt.net.closing import Closing


class Transport:
    """A transport that notes what is asked of it."""

    def __init__(self, unsent: int = 0, *, has_half: bool = True) -> None:
        self.unsent = unsent
        self.has_half = has_half
        self.is_reset = False
        self.calls: list[str] = []

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        self.calls.append(f"limits {high}")

    def can_write_eof(self) -> bool:
        return self.has_half

    def write_eof(self) -> None:
        if self.is_reset:
            raise OSError
        self.calls.append("eof")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


def new_closing(**arguments: Any) -> tuple[Closing, Transport]:
    transport: Any = Transport(**arguments)
    return Closing(transport), transport


@pytest.fixture
def _short_linger(monkeypatch):
    monkeypatch.setattr(closing, "LINGER", 0.01)


async def test_with_nothing_to_write_the_next_step_is_to_half_close():
    closing, transport = new_closing()
    assert not closing.flush(10)
    closing.half_close()
    assert transport.calls == ["eof"]
    closing.stop()


async def test_what_is_written_leaves_first():
    closing, transport = new_closing(unsent=1)
    assert closing.flush(10)
    # From now on the buffer has drained when it is empty.
    assert transport.calls == ["limits 0"]
    closing.half_close()
    assert transport.calls == ["limits 0", "eof"]
    closing.stop()


async def test_a_peer_that_takes_nothing_is_cut():
    closing, transport = new_closing(unsent=1)
    closing.flush(0.01)
    await asyncio.sleep(0.05)
    assert transport.calls == ["limits 0", "abort"]


async def test_without_halves_the_transport_closes():
    closing, transport = new_closing(has_half=False)
    closing.half_close()
    assert transport.calls == ["close"]
    closing.stop()


async def test_a_peer_that_has_reset_the_connection_is_cut_at_once():
    closing, transport = new_closing()
    transport.is_reset = True
    closing.half_close()
    assert transport.calls == ["abort"]
    closing.stop()


@pytest.mark.usefixtures("_short_linger")
async def test_a_peer_that_keeps_its_side_open_is_cut():
    closing, transport = new_closing()
    closing.half_close()
    await asyncio.sleep(0.05)
    assert transport.calls == ["eof", "abort"]


@pytest.mark.usefixtures("_short_linger")
async def test_a_transport_that_has_closed_is_not_cut():
    closing, transport = new_closing()
    closing.half_close()
    closing.stop()
    await asyncio.sleep(0.05)
    assert transport.calls == ["eof"]


async def test_the_limit_holds_for_each_step_to_come():
    closing, transport = new_closing(unsent=1)
    closing.limit(0.01)
    closing.flush(10)
    closing.half_close()
    await asyncio.sleep(0.05)
    assert transport.calls == ["limits 0", "eof", "abort"]
