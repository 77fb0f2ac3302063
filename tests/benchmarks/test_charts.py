"""The pictures of the figures: what they show, and that everybody can read it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks"
PICTURES = sorted(path.name for path in PAGE.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"

Element = ET.Element


def draw(figures: Path, directory: Path) -> dict[str, Element]:
    """The pictures of a file of figures, by name."""
    program = ROOT / "benchmarks" / "charts.py"
    subprocess.run(
        [sys.executable, program, figures, directory], check=True, capture_output=True
    )
    return {path.stem: ET.parse(path).getroot() for path in directory.iterdir()}


@pytest.fixture
def drawn(tmp_path):
    """Draw workloads: the values, or the problem, of each client."""

    def of(cells: dict[str, dict[str, float | str]], **metrics: str):
        content: dict[str, Any] = {
            "machine": {
                "date": "2026-01-02",
                "processor": "1 x abacus",
                "Python": "3.11.0",
                "MQTT": "3.1.1",
                "payload": "64 bytes",
            },
            "clients": {client: "1.0" for row in cells.values() for client in row},
            "cells": [
                {
                    "workload": workload,
                    "client": client,
                    "problem": value if isinstance(value, str) else "",
                    "values": {
                        metrics.get(workload, "cpu_us_per_message"): [value]
                        if not isinstance(value, str)
                        else []
                    },
                }
                for workload, row in cells.items()
                for client, value in row.items()
            ],
            "runs": [],
        }
        file = tmp_path / "figures.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        return draw(file, tmp_path / "pictures")

    return of


def texts(picture: Element, kind: str) -> list[str]:
    """Return the texts of a picture, by the first word of their class."""
    return [
        "".join(element.itertext())
        for element in picture.iter(f"{SVG}text")
        if element.attrib["class"].split()[0] == kind
    ]


def floors(picture: Element) -> list[Element]:
    return list(picture.iter(f"{SVG}line"))


def bars(picture: Element) -> list[Element]:
    return [
        element
        for element in picture.iter(f"{SVG}rect")
        if element.attrib["class"] in ("bar", "ours")
    ]


# --- the pictures of the page ---------------------------------------------------


def test_the_pictures_are_of_the_figures_beside_them(tmp_path):
    draw(PAGE / "figures.json", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == PICTURES
    for name in PICTURES:
        new = (tmp_path / name).read_text(encoding="utf-8")
        assert (PAGE / name).read_text(encoding="utf-8") == new, name


def test_the_page_shows_each_of_them():
    page = (PAGE / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)) == PICTURES


def test_the_pictures_of_messages_compare_the_same_calls():
    def panels(name: str) -> set[str]:
        root = ET.parse(PAGE / name).getroot()
        return {title.partition(",")[0] for title in texts(root, "panel")}

    same = {f"{kind} QoS {qos}" for kind in ("receive", "publish") for qos in range(3)}
    assert panels("messages.svg") == panels("sizes.svg") == same


# --- what is drawn --------------------------------------------------------------


def test_clients_are_sorted_and_ours_stand_out(drawn):
    row: dict[str, float | str] = {
        "paho-mqtt": 20.0,
        "aiomqtt": 1.5,
        "gmqtt": "lost 5",
        "libmosquitto": 4.0,
    }
    picture = drawn({"receive-qos0": row})["messages"]
    assert texts(picture, "name") == ["aiomqtt", "libmosquitto", "paho-mqtt", "gmqtt"]
    assert texts(picture, "value") == ["1.50", "4.00", "20.0"]
    assert texts(picture, "problem") == ["lost 5lost 5"]  # and its title
    assert [bar.attrib["class"] for bar in bars(picture)[:2]] == ["ours", "bar"]


@pytest.mark.parametrize(
    ("floor", "figure"), [(0.5, "0.50"), (3.0, "3.00"), (50.0, "50.0")]
)
def test_the_floor_is_a_line_and_no_bar(drawn, floor, figure):
    row: dict[str, float | str] = {"aiomqtt": 2.0, "gmqtt": 4.0, "bare-asyncio": floor}
    picture = drawn({"publish-qos1": row})["messages"]
    assert texts(picture, "name") == ["aiomqtt", "gmqtt"]
    [line] = floors(picture)
    assert line.attrib["x1"] == line.attrib["x2"]
    # On the scale of the bars.
    _, bar = bars(picture)
    start, scale = float(bar.attrib["x"]), float(bar.attrib["width"]) / 4.0
    assert float(line.attrib["x1"]) == pytest.approx(start + scale * floor, abs=1)
    assert texts(picture, "note")[-1] == f"dashed: asyncio without MQTT, {figure}"


def test_without_a_floor_there_is_no_line(drawn):
    picture = drawn({"publish-qos1": {"aiomqtt": 2.0, "gmqtt": 4.0}})["messages"]
    assert floors(picture) == []
    assert not any("dashed" in note for note in texts(picture, "note"))


def test_a_long_bar_is_cut_and_the_picture_says_so(drawn):
    row: dict[str, float | str] = {"aiomqtt": 1.0, "gmqtt": 2.0, "amqtt": 100.0}
    picture = drawn({"receive-qos1": row})["messages"]
    assert len(bars(picture)) == 4
    assert "a bar with a gap" in texts(picture, "note")[0]


def test_nothing_is_drawn_of_what_was_not_measured(drawn):
    pictures = drawn({"latency": {"aiomqtt": 50.0}}, latency="p50_us")
    assert set(pictures) == {"latency"}


# --- who can read it ------------------------------------------------------------

# Of the Web Content Accessibility Guidelines 2.2: 1.4.3 for text, 1.4.11 for bars.
TEXT, GRAPHIC = 4.5, 3.0
CONTRASTS = {
    "text": TEXT,
    ".note": TEXT,
    ".problem": TEXT,
    ".bar": GRAPHIC,
    ".ours": GRAPHIC,
    ".floor": GRAPHIC,
}


def colours(style: str) -> dict[str, str]:
    """The colour of each selector: what it is filled with, or drawn with."""
    found: dict[str, str] = {}
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    for names, rule in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        declared = dict(part.split(":") for part in rule.split(";") if ":" in part)
        declared = {key.strip(): value.strip() for key, value in declared.items()}
        for name in names.split(","):
            what = "stroke" if name.strip() == ".floor" else "fill"
            if what in declared:
                found[name.strip()] = declared[what]
            if name.strip() == ".value" and "stroke" in declared:
                found["around values"] = declared["stroke"]
    return found


def schemes(picture: Element) -> dict[str, dict[str, str]]:
    """The colours for a reader who prefers light, and for one who prefers dark."""
    [element] = picture.iter(f"{SVG}style")
    light, _, dark = (element.text or "").partition(
        "@media (prefers-color-scheme: dark) {"
    )
    assert dark
    return {"light": colours(light), "dark": colours(light) | colours(dark)}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_its_own_background(name, scheme):
    picture = ET.parse(PAGE / name).getroot()
    colour = schemes(picture)[scheme]
    background = colour[".background"]
    for selector, least in CONTRASTS.items():
        assert contrast(colour[selector], background) >= least, selector
    assert contrast(colour[".floor"], colour[".bar"]) >= GRAPHIC
    assert contrast(colour[".floor"], colour[".ours"]) >= GRAPHIC
    assert colour["around values"] == background


def test_the_two_schemes_differ():
    light, dark = schemes(ET.parse(PAGE / PICTURES[0]).getroot()).values()
    assert {name for name in light if light[name] == dark[name]} == set()


@pytest.mark.parametrize("name", PICTURES)
def test_the_background_is_beneath_all_of_it(name):
    """Or it shows the page's, whatever colour that has."""
    picture = ET.parse(PAGE / name).getroot()
    shapes = [e for e in picture if e.tag.removeprefix(SVG) in ("rect", "text", "line")]
    background, *others = shapes
    assert background.attrib["class"] == "background"
    left, top, width, height = map(float, picture.attrib["viewBox"].split())
    assert float(background.attrib["x"]) == left
    assert (top, float(background.attrib.get("y", 0))) == (0, 0)
    assert float(background.attrib["width"]) == width
    assert float(background.attrib["height"]) == height
    for shape in others:
        at = float(shape.attrib.get("x", shape.attrib.get("x1", 0)))
        assert left <= at <= left + width
        assert float(shape.attrib.get("y", shape.attrib.get("y2", 0))) <= height
