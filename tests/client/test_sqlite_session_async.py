"""The session in a SQLite file, as programs create it."""

from typing import Any

import pytest

import aiomqtt
from aiomqtt import Client, SQLiteSession
from aiomqtt.testing import CONNACK, CONNECT, DISCONNECT, PUBLISH, Script
from tests.raw_scripts import within


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_the_session_is_in_the_file(durability, tmp_path):
    path = tmp_path / "session.db"
    first, second = Script(), Script()
    first.expect(CONNECT).reply(CONNACK)
    first.expect(PUBLISH, packet_id=1).reply().expect(PUBLISH).expect(DISCONNECT)
    second.expect(CONNECT, clean_start=False).reply(CONNACK, session_present=True)
    second.expect(PUBLISH, packet_id=2, dup=True).reply().expect(DISCONNECT)
    options: dict[str, Any] = {"transport": "memory", "identifier": "me", "protocol": 5}
    async with first:
        session = SQLiteSession(path, durability=durability)
        async with Client(first.name, session=session, timeout=0.1, **options) as one:
            await within(one.publish("a", "1", 1, id="one"))
            one.publish_nowait("a", "2", 1, id="two")
    async with second:
        session = SQLiteSession(path, durability=durability)
        async with Client(second.name, session=session, **options):
            states = {one.id: one.state for one in await session.receipts()}
            assert states["one"] == "acknowledged"
            with pytest.raises(aiomqtt.SessionStoreError, match="in use"):
                other = SQLiteSession(path)
                await Client("x", session=other, **options).__aenter__()


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match="durability must be"):
        SQLiteSession(tmp_path / "x", durability="high")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep_receipts must be"):
        SQLiteSession(tmp_path / "x", keep_receipts=-1)
