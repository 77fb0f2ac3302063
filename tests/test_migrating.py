"""The page for migrating names nothing that isn't there."""

import inspect
import re

import pytest

import aiomqtt
from tests.documentation import ROOT

TEXT = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """The rows of a section's tables, without their heads."""
    section = re.split(r"^#+ ", TEXT.partition(f" {title}\n")[2], flags=re.MULTILINE)
    lines = [line for line in section[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [
        row
        for row, after in zip(cells, [*cells[1:], ["x"]], strict=True)
        if "---" not in row[0] and "---" not in after[0]
    ]


OURS = [
    code
    for title in (
        "Private attributes",
        "From aiomqtt 1.x",
        "From paho-mqtt",
        "From gmqtt",
        "From MQTT.js",
    )
    for row in rows(title)
    for code in re.findall(r"`([^`]+)`", row[1])
]


@pytest.mark.parametrize("code", sorted(set(OURS)))
def test_what_it_tells_to_use_is_there(code):
    for name in re.findall(r"\bclient\.(\w+)", code):
        assert hasattr(aiomqtt.Client, name), name
    for name in re.findall(r"\bmessage\.(\w+)", code):
        assert hasattr(aiomqtt.Message, name), name
    for name in re.findall(r"\b([A-Z]\w+)\(", code):
        assert hasattr(aiomqtt, name), name
    known = inspect.signature(aiomqtt.Client).parameters
    for arguments in re.findall(r"\bClient\((.*)\)", code):
        for name in re.findall(r"(?:^|, )(\w+)=", re.sub(r"\([^()]*\)", "", arguments)):
            assert name in known, name
    if re.match(r"(Properties|SubscribeOptions|Will)\(", code):
        eval(code, vars(aiomqtt).copy())


@pytest.mark.parametrize(
    "title",
    [
        "Requirements",
        "Errors where there was silence",
        "Values",
        "Sessions and queues",
        "Logging",
    ],
)
def test_each_difference_has_its_reason(title):
    found = rows(title)
    assert found
    for row in found:
        assert len(row) == 3
        assert all(row), row


def test_the_extra_for_paho_mqtt_is_on_the_page():
    assert "`aiomqtt[paho]`" in TEXT
