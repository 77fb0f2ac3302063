"""Draw what `run.py --json FILE` measured: `charts.py FILE DIRECTORY`.

One SVG for each group of workloads, readable on light and on dark pages. The same file
always gives the same pictures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from report import number
from workloads import UNITS, WORKLOADS, Metric, Workload

WIDTH = 760
LABELS = 150  # the width of the column with the clients' names
BARS = 420  # the width of the longest bar
ROW = 19
TITLE = 34
TOP = 58

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.panel { font-size: 13px; font-weight: 600 }
.note, .problem { fill: #656d76 }
.problem { font-style: italic }
.bar { fill: #afb8c1 }
.ours { fill: #0969da }
.name-ours { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .problem { fill: #9198a1 }
  .bar { fill: #4d5560 }
  .ours { fill: #4493f8 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    client: str
    value: float
    problem: str

    @property
    def is_ours(self) -> bool:
        """Whether it is this checkout, in one of its builds."""
        return self.client in ("aiomqtt", "aiomqtt-pure", "aiomqtt-uvloop")


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: the workloads whose names begin so, each with one metric."""

    file: str
    title: str
    prefixes: tuple[str, ...]
    metric: Metric


CHARTS = (
    Chart(
        "messages",
        "CPU per message",
        ("receive-", "publish-"),
        "cpu_us_per_message",
    ),
    Chart("latency", "Latency of a publish with QoS 1", ("latency",), "p50_us"),
    Chart("connect", "Connecting and disconnecting", ("connect",), "cpu_ms_each"),
    Chart("memory", "Memory of an idle client", ("idle",), "kib_each"),
    Chart("import", "Importing the package", ("import",), "import_cpu_ms"),
)


def bars_of(content: dict[str, Any], workload: Workload, metric: Metric) -> list[Bar]:
    """The clients' bars, best first; those with a problem last."""
    bars = []
    for cell in content["cells"]:
        if cell["workload"] != workload.name:
            continue
        value = (cell["medians"] or {}).get(metric)
        if cell["problem"]:
            bars.append(Bar(cell["client"], 0.0, cell["problem"]))
        elif value is not None:
            bars.append(Bar(cell["client"], value, ""))
    return sorted(bars, key=lambda bar: (bool(bar.problem), bar.value, bar.client))


def draw(content: dict[str, Any], chart: Chart) -> str:
    """The text of an SVG; empty when nothing was measured for it."""
    lines: list[str] = []
    y = TOP
    for workload in WORKLOADS:
        if not workload.name.startswith(chart.prefixes):
            continue
        bars = bars_of(content, workload, chart.metric)
        if not bars:
            continue
        y += TITLE
        lines.append(text(0, y - 10, workload.title, "panel"))
        longest = max(bar.value for bar in bars) or 1.0
        for bar in bars:
            lines += draw_bar(bar, y, longest)
            y += ROW
    if not lines:
        return ""
    machine = content["machine"]
    about = f"{machine['processor']}, Python {machine['Python']}, {machine['date']}"
    head = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 12}"'
            f' viewBox="-8 0 {WIDTH} {y + 12}" role="img">'
        ),
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        text(0, 24, f"{chart.title} ({UNITS[chart.metric]}, less is better)", "title"),
        text(0, 44, about, "note"),
    ]
    return "\n".join([*head, *lines, "</svg>\n"])


def draw_bar(bar: Bar, y: float, longest: float) -> list[str]:
    middle = y + ROW - 6
    ours = " name-ours" if bar.is_ours else ""
    name = text(LABELS - 8, middle, bar.client, f"name{ours}", anchor="end")
    if bar.problem:
        return [name, text(LABELS, middle, bar.problem[:70], "problem")]
    width = max(1.0, BARS * bar.value / longest)
    kind = "ours" if bar.is_ours else "bar"
    return [
        name,
        (
            f'<rect class="{kind}" x="{LABELS}" y="{y + 2}" width="{width:.1f}"'
            f' height="{ROW - 5}" rx="2"/>'
        ),
        text(LABELS + width + 6, middle, number(bar.value), "value"),
    ]


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what run.py --json wrote")
    parser.add_argument("directory", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    content = json.loads(arguments.file.read_text(encoding="utf-8"))
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for chart in CHARTS:
        picture = draw(content, chart)
        if picture:
            file = arguments.directory / f"{chart.file}.svg"
            file.write_text(picture, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
