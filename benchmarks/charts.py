"""Draw what `run.py --json FILE` measured: `charts.py FILE DIRECTORY`.

One SVG for each row of `CHARTS`. It is readable on any page, as it has a background of
its own, which is dark where the reader prefers that. The same file always gives the
same pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from html import escape
from pathlib import Path

from report import FLOOR, OURS, Report, number
from workloads import PAYLOADS, UNITS, WORKLOADS, Metric

NAMESPACE = "http://www.w3.org/2000/svg"

WIDTH = 860
MARGIN = 12
GAP = 24  # between two columns of panels
LABELS = 132  # the width of the column with the clients' names
VALUES = 52  # what the number after the longest bar takes
ROW = 17
BASE = 12  # from a row's top to the line that its text stands on
TITLE = 36
TOP = 56

# A bar is cut at this many times its panel's median: one slow client would leave the
# others no room.
LONGEST = 3.0
BREAK, END = 5, 14  # the gap that tells of it, and what is drawn after it

CHARACTER = 6.2  # the width of one, about

# A picture within a page can't know the page's background. Where the two differ, a
# reader sees a light picture on a dark page, or a dark one on a light page.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.panel { font-size: 13px; font-weight: 600 }
.note, .problem { fill: #59636e }
.problem { font-style: italic }
/* The dashed line leaves room for them. */
.value, .problem { stroke: #ffffff; stroke-width: 4px; paint-order: stroke }
.background { fill: #ffffff }
.bar { fill: #818b98 }
.ours { fill: #0969da }
.floor { stroke: #1f2328; stroke-dasharray: 3 2 }
.name-ours { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .problem { fill: #9198a1 }
  .value, .problem { stroke: #0d1117 }
  .background { fill: #0d1117 }
  .bar { fill: #656c76 }
  .ours { fill: #1f6feb }
  .floor { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of bars."""

    title: str
    workload: str


@dataclass(frozen=True, slots=True)
class Chart:
    file: str
    title: str
    metric: Metric
    panels: tuple[Panel, ...]
    columns: int = 1
    # The version of MQTT, if it differs from that of the run.
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    client: str
    value: float
    problem: str


TITLES = {workload.name: workload.full_title for workload in WORKLOADS}


def titled(workload: str) -> Panel:
    return Panel(TITLES[workload], workload)


def panels_of(suffix: str) -> tuple[Panel, ...]:
    """Return the panels: receiving on the left, publishing on the right."""
    return tuple(
        titled(f"{kind}-qos{qos}{suffix}")
        for qos in range(3)
        for kind in ("receive", "publish")
    )


def sizes() -> tuple[Panel, ...]:
    panels = [
        panel
        for payload in PAYLOADS
        if payload.name
        for panel in panels_of(f"-{payload.name}")
    ]
    return (*panels, titled("receive-topics"))


CHARTS = (
    Chart("messages", "CPU per message", "cpu_us_per_message", panels_of(""), 2),
    Chart(
        "messages-3.1.1",
        "CPU per message, MQTT 3.1.1",
        "cpu_us_per_message",
        panels_of("-v4"),
        2,
        "3.1.1",
    ),
    Chart(
        "many",
        "CPU per message: one call for many messages",
        "cpu_us_per_message",
        (titled("publish-many-qos1"), titled("publish-many-qos2")),
        2,
    ),
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
        (Panel("", "latency"),),
    ),
    Chart(
        "connect",
        "Connecting and disconnecting",
        "cpu_ms_each",
        (Panel("", "connect"),),
    ),
    Chart("memory", "Memory of an idle client", "kib_each", (Panel("", "idle"),)),
    Chart("import", "Importing the package", "import_cpu_ms", (Panel("", "import"),)),
)


def bars_of(report: Report, panel: Panel, metric: Metric) -> list[Bar]:
    """Return the clients' bars, best first; those with a problem last."""
    bars = []
    for client in report.clients:
        cell = report.cells.get((panel.workload, client))
        if client == FLOOR or cell is None:
            continue
        value = cell.median(metric)
        if value is not None or cell.problem:
            bars.append(Bar(client, value or 0.0, cell.problem))
    return sorted(bars, key=lambda bar: (bool(bar.problem), bar.value, bar.client))


def floor_of(report: Report, panel: Panel, metric: Metric) -> float | None:
    cell = report.cells.get((panel.workload, FLOOR))
    return cell.median(metric) if cell else None


def draw(report: Report, chart: Chart) -> str:
    """Return the text of an SVG; "": nothing was measured for it."""
    width = (WIDTH - GAP * (chart.columns - 1)) / chart.columns
    panels = [
        (panel, bars)
        for panel in chart.panels
        if (bars := bars_of(report, panel, chart.metric))
    ]
    if not panels:
        return ""
    floors = {
        panel: floor
        for panel, _ in panels
        if (floor := floor_of(report, panel, chart.metric)) is not None
    }
    lines: list[str] = []
    y = TOP
    for start in range(0, len(panels), chart.columns):
        beside = panels[start : start + chart.columns]
        has_heading = any(panel.title or panel in floors for panel, _ in beside)
        heading = TITLE if has_heading else 0
        for column, (panel, bars) in enumerate(beside):
            x = column * (width + GAP)
            lines += draw_panel(panel, bars, floors.get(panel), x, y + heading, width)
        y += heading + ROW * max(len(bars) for _, bars in beside)
    machine = report.machine
    protocol = chart.protocol or machine["MQTT"]
    about = f"{machine['processor']}, Python {machine['Python']}, MQTT {protocol}, "
    if chart.metric in ("cpu_us_per_message", "p50_us"):
        about += f"{machine['payload']}, "
    about += machine["date"]
    if any(is_cut(bar, bars) for _, bars in panels for bar in bars):
        about += "; a bar with a gap is longer than it is drawn"
    wide, high = WIDTH + 2 * MARGIN, y + MARGIN
    size, box = f'width="{wide}" height="{high}"', f"{-MARGIN} 0 {wide} {high}"
    head = [
        f'<svg xmlns="{NAMESPACE}" {size} viewBox="{box}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="background" x="{-MARGIN}" {size} rx="6"/>',
        text(0, 24, f"{chart.title} ({UNITS[chart.metric]}, less is better)", "title"),
        text(0, 44, about, "note"),
    ]
    return "\n".join([*head, *lines, "</svg>\n"])


def draw_panel(
    panel: Panel,
    bars: list[Bar],
    floor: float | None,
    x: float,
    y: float,
    width: float,
) -> list[str]:
    """Draw a panel; `y` is the top of the first bar, below the heading."""
    lines = []
    if panel.title:
        lines.append(text(x, y - 8, panel.title, "panel"))
    room = width - LABELS - VALUES
    longest = min(limit(bars), max(bar.value for bar in bars))
    longest = max(longest, floor or 0.0) or 1.0
    for row, bar in enumerate(bars):
        lines += draw_bar(bar, x, y + row * ROW, room, bar.value / longest)
    if floor is not None:
        about = f"dashed: asyncio without MQTT, {number(floor)}"
        lines.append(text(x + width, y - 8, about, "note", anchor="end"))
        at, end = x + LABELS + room * floor / longest, y + ROW * len(bars)
        lines.append(
            f'<line class="floor" x1="{at:.1f}" y1="{y}" x2="{at:.1f}" y2="{end}"/>'
        )
    for row, bar in enumerate(bars):
        lines += draw_value(bar, x, y + row * ROW, room, bar.value / longest)
    return lines


def draw_bar(bar: Bar, x: float, y: float, room: float, part: float) -> list[str]:
    """Draw a bar; `part` is relative to the longest whole bar; above 1 it is cut."""
    start = x + LABELS
    ours = " name-ours" if bar.client in OURS else ""
    name = text(start - 8, y + BASE, bar.client, f"name{ours}", anchor="end")
    if bar.problem:
        return [name]
    length = length_of(room, part)
    if part > 1.0:
        return [
            name,
            rectangle(bar, start, y, length - END - BREAK),
            rectangle(bar, start + length - END, y, END),
        ]
    return [name, rectangle(bar, start, y, length)]


def draw_value(bar: Bar, x: float, y: float, room: float, part: float) -> list[str]:
    """Draw the figure behind the bar, or in its place."""
    start = x + LABELS
    if not bar.problem:
        at = start + length_of(room, part) + 6
        return [text(at, y + BASE, number(bar.value), "value")]
    fits = int((room + VALUES) / CHARACTER)
    problem = bar.problem
    if len(problem) > fits:
        problem = problem[: fits - 1] + "…"
    return [text(start, y + BASE, problem, "problem", about=bar.problem)]


def length_of(room: float, part: float) -> float:
    return min(room, max(1.0, room * part))


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
    """Return a text element; `about` is its tooltip."""
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
