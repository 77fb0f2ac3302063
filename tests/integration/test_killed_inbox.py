"""A program with a database of its own, killed again and again at any moment."""

from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.killed.program import (
    Program,
    check_that_each_is_processed_once,
    numbers_of,
)
from tests.postgres_servers import PostgresServer

# The examples are killed more often, and sessions in `scripts/campaign`.
KILLS = 20

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(600)]

PROCESSOR = Path(__file__).parents[1] / "killed" / "processor.py"


def processor(broker: Broker, *arguments: object) -> Program:
    address = broker.host, broker.port
    return Program(PROCESSOR, *address, *arguments)


async def test_each_message_is_in_the_file_of_the_program_once(
    quiet_broker: Broker, tmp_path: Path
):
    file = tmp_path / "program.db"
    await check_that_each_is_processed_once(
        processor(quiet_broker, tmp_path / "session.db", "sqlite3", file),
        quiet_broker,
        lambda: numbers_of(file, "processed"),
        KILLS,
    )


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_each_message_is_on_the_server_of_the_program_once(
    quiet_broker: Broker, postgres: PostgresServer, tmp_path: Path, driver: str
):
    import psycopg

    def processed() -> list[int]:
        rows = looking.execute("SELECT number FROM processed ORDER BY id")
        return [number for (number,) in rows]

    with psycopg.connect(postgres.url, autocommit=True) as looking:
        looking.execute("DROP TABLE IF EXISTS aiomqtt_processed, processed")
        await check_that_each_is_processed_once(
            processor(quiet_broker, tmp_path / "session.db", driver, postgres.url),
            quiet_broker,
            processed,
            KILLS,
        )
