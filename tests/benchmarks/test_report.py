"""The tables of the figures: their columns, and what stands in them."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from aiomqtt.protocol.codec.framing import Decoder
from aiomqtt.protocol.packets import Publish
from aiomqtt.standard.tables import ProtocolVersion, Role

if TYPE_CHECKING:
    from workloads import Metric

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    """Print the table of some figures, and take its rows apart."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from report import Cell, Report

    def of(cells: dict[tuple[str, str], dict[str, float]]) -> dict[str, list[str]]:
        clients = {client: "1.0" for _, client in cells}
        report = Report(
            {"MQTT": "5.0"},
            clients,
            {
                key: Cell(
                    {cast("Metric", name): [value] for name, value in values.items()}
                )
                for key, values in cells.items()
            },
        )
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in report.markdown().splitlines()
            if line.startswith("|")
        ]
        return {row[0]: row[1:] for row in rows}

    return of


def test_a_column_tells_the_multiple_of_the_floor(table):
    rows = table(
        {
            ("receive-qos0", "gmqtt"): {"cpu_us_per_message": 5.0},
            ("receive-topics", "gmqtt"): {"cpu_us_per_message": 6.0},
            ("receive-qos0", "bare-asyncio"): {"cpu_us_per_message": 2.0},
        }
    )
    topics = "receive QoS 0, 10,000 topics"
    assert rows["client"] == ["receive QoS 0", "x floor", topics]
    assert rows["gmqtt 1.0"] == ["5.00", "2.50", "6.00"]
    assert rows["bare-asyncio 1.0"] == ["2.00", "1.00", "n/a"]


def test_the_floor_has_no_multiple_of_a_queue(table):
    figures = {"longest_queue": 5000, "peak_mib": 1.5, "longest_turn_ms": 2.25}
    rows = table(
        {
            ("receive-million", "gmqtt"): figures,
            ("receive-million", "libmosquitto"): {"peak_mib": 3.0},
            ("receive-million", "bare-asyncio"): figures,
        }
    )
    assert [head.removeprefix("receive, ") for head in rows["client"]] == [
        "longest queue, messages",
        "peak memory, MiB",
        "longest turn, CPU ms",
    ]
    assert rows["gmqtt 1.0"] == ["5000", "1.50 (0.50x)", "2.25"]
    assert rows["libmosquitto 1.0"] == ["n/a", "3.00", "n/a"]


def test_a_client_is_measured_in_the_versions_that_it_speaks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from environments import CLIENTS
    from workloads import WORKLOADS

    workloads = {workload.name: workload for workload in WORKLOADS}

    def measured(workload: str) -> set[str]:
        return {client.name for client in CLIENTS if client.has(workloads[workload])}

    assert {"zenmqtt", "ohmqtt", "aiomqtt-3"} & measured("receive-qos0-v4") == set()
    assert {"amqtt", "awscrt"} & measured("receive-properties") == set()
    # There it is run with what it speaks, and its row says so.
    assert {"amqtt", "zenmqtt"} <= measured("receive-qos0")


def test_the_peer_sends_properties_as_the_standard_has_them(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import frames

    packet = frames.encode_publish(
        "a", b"b", 0, 0, version=5, properties=frames.encode_properties()
    )
    decoder = Decoder(ProtocolVersion.V5, Role.SERVER)
    [message] = decoder.feed(packet)
    assert isinstance(message, Publish)
    properties = message.properties
    assert properties is not None
    assert properties.ContentType == "application/json"
    assert properties.ResponseTopic == "bench/answers/17"
    assert properties.CorrelationData == b"0123456789abcdef"
    assert [name for name, _ in properties.UserProperty] == ["unit", "sensor"]
