"""Draw what `run.py --json FILE` measured: `charts.py FILE DIRECTORY`.

One SVG for each row of `CHARTS`, readable on light and on dark pages. The same file
always gives the same pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from html import escape
from pathlib import Path

from report import OURS, Report, number
from workloads import PAYLOADS, UNITS, WORKLOADS, Metric

WIDTH = 860
GAP = 24  # between two columns of panels
LABELS = 132  # the width of the column with the clients' names
VALUES = 52  # what the number after the longest bar takes
ROW = 17
TITLE = 36
TOP = 56

# A bar ends at so many times its panel's median: one slow client would leave the
# others no room.
LONGEST = 3.0
BREAK, END = 5, 14  # the gap that tells of it, and what is drawn after it

CHARACTER = 6.2  # the width of one, about

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
class Panel:
    """One set of bars. Of several workloads, each client's best one counts."""

    title: str
    workloads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    file: str
    title: str
    metric: Metric
    panels: tuple[Panel, ...]
    columns: int = 1


@dataclass(frozen=True, slots=True)
class Bar:
    client: str
    value: float
    problem: str


TITLES = {workload.name: workload.full_title for workload in WORKLOADS}


def panels_of(suffix: str) -> tuple[Panel, ...]:
    """Receiving in the left column, publishing in the right one."""
    panels = []
    for qos in range(3):
        receive, publish = f"receive-qos{qos}{suffix}", f"publish-qos{qos}{suffix}"
        panels.append(Panel(TITLES[receive], (receive,)))
        many = f"publish-many-qos{qos}{suffix}"
        if many in TITLES:
            title = f"{TITLES[publish]}, each client's best call"
            panels.append(Panel(title, (publish, many)))
        else:
            panels.append(Panel(TITLES[publish], (publish,)))
    return tuple(panels)


def sizes() -> tuple[Panel, ...]:
    panels = [
        panel
        for payload in PAYLOADS
        if payload.name
        for panel in panels_of(f"-{payload.name}")
    ]
    return (*panels, Panel(TITLES["receive-topics"], ("receive-topics",)))


CHARTS = (
    Chart("messages", "CPU per message", "cpu_us_per_message", panels_of(""), 2),
    Chart(
        "sizes",
        "CPU per message: larger payloads, many topics",
        "cpu_us_per_message",
        sizes(),
        2,
    ),
    Chart(
        "latency",
        "Latency of a publish with QoS 1",
        "p50_us",
        (Panel("", ("latency",)),),
    ),
    Chart(
        "connect",
        "Connecting and disconnecting",
        "cpu_ms_each",
        (Panel("", ("connect",)),),
    ),
    Chart("memory", "Memory of an idle client", "kib_each", (Panel("", ("idle",)),)),
    Chart(
        "import", "Importing the package", "import_cpu_ms", (Panel("", ("import",)),)
    ),
)


def bars_of(report: Report, panel: Panel, metric: Metric) -> list[Bar]:
    """The clients' bars, best first; those with a problem last."""
    bars = []
    for client in report.clients:
        cells = [
            report.cells[workload, client]
            for workload in panel.workloads
            if (workload, client) in report.cells
        ]
        values = [value for cell in cells if (value := cell.median(metric)) is not None]
        problems = [cell.problem for cell in cells if cell.problem]
        if values:
            bars.append(Bar(client, min(values), ""))
        elif problems:
            bars.append(Bar(client, 0.0, problems[0]))
    return sorted(bars, key=lambda bar: (bool(bar.problem), bar.value, bar.client))


def draw(report: Report, chart: Chart) -> str:
    """The text of an SVG; empty when nothing was measured for it."""
    width = (WIDTH - GAP * (chart.columns - 1)) / chart.columns
    panels = [
        (panel, bars)
        for panel in chart.panels
        if (bars := bars_of(report, panel, chart.metric))
    ]
    if not panels:
        return ""
    lines: list[str] = []
    y = TOP
    for start in range(0, len(panels), chart.columns):
        beside = panels[start : start + chart.columns]
        for column, (panel, bars) in enumerate(beside):
            lines += draw_panel(panel, bars, column * (width + GAP), y, width)
        titled = TITLE if beside[0][0].title else 0
        y += titled + ROW * max(len(bars) for _, bars in beside)
    machine = report.machine
    about = (
        f"{machine['processor']}, Python {machine['Python']}, MQTT {machine['MQTT']}, "
    )
    if chart.metric in ("cpu_us_per_message", "p50_us"):
        about += f"{machine['payload']}, "
    about += machine["date"]
    if any(is_cut(bar, bars) for _, bars in panels for bar in bars):
        about += "; a bar with a gap is longer than it is drawn"
    size = f'width="{WIDTH}" height="{y + 12}" viewBox="-8 0 {WIDTH + 16} {y + 12}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        text(0, 24, f"{chart.title} ({UNITS[chart.metric]}, less is better)", "title"),
        text(0, 44, about, "note"),
    ]
    return "\n".join([*head, *lines, "</svg>\n"])


def draw_panel(
    panel: Panel, bars: list[Bar], x: float, y: float, width: float
) -> list[str]:
    lines = []
    if panel.title:
        y += TITLE
        lines.append(text(x, y - 8, panel.title, "panel"))
    room = width - LABELS - VALUES
    longest = min(limit(bars), max(bar.value for bar in bars)) or 1.0
    for bar in bars:
        lines += draw_bar(bar, x, y, room, bar.value / longest)
        y += ROW
    return lines


def draw_bar(bar: Bar, x: float, y: float, room: float, part: float) -> list[str]:
    """`part` is of the longest bar that is drawn whole; more than 1 is cut."""
    start, middle = x + LABELS, y + ROW - 5
    ours = " name-ours" if bar.client in OURS else ""
    name = text(start - 8, middle, bar.client, f"name{ours}", anchor="end")
    if bar.problem:
        fits = int((room + VALUES) / CHARACTER)
        problem = bar.problem
        if len(problem) > fits:
            problem = problem[: fits - 1] + "…"
        return [name, text(start, middle, problem, "problem", about=bar.problem)]
    length = min(room, max(1.0, room * part))
    drawn = [rectangle(bar, start, y, length)]
    if part > 1.0:
        drawn = [
            rectangle(bar, start, y, length - END - BREAK),
            rectangle(bar, start + length - END, y, END),
        ]
    value = text(start + length + 6, middle, number(bar.value), "value")
    return [name, *drawn, value]


def limit(bars: list[Bar]) -> float:
    values = [bar.value for bar in bars if not bar.problem]
    return LONGEST * statistics.median(values) if values else 0.0


def is_cut(bar: Bar, bars: list[Bar]) -> bool:
    return not bar.problem and bar.value > limit(bars)


def rectangle(bar: Bar, x: float, y: float, width: float) -> str:
    kind = "ours" if bar.client in OURS else "bar"
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y + 2}" width="{width:.1f}"'
        f' height="{ROW - 4}" rx="2"/>'
    )


def text(
    x: float, y: float, content: str, kind: str, anchor: str = "start", about: str = ""
) -> str:
    """With `about`, a pointer that rests on it sees that."""
    title = f"<title>{escape(about)}</title>" if about else ""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{title}{escape(content)}</text>"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what run.py --json wrote")
    parser.add_argument("directory", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    report = Report.from_json(json.loads(arguments.file.read_text(encoding="utf-8")))
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for chart in CHARTS:
        picture = draw(report, chart)
        if picture:
            file = arguments.directory / f"{chart.file}.svg"
            file.write_text(picture, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
