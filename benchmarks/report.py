"""Print the figures of `run.py --json FILE` as Markdown: `report.py FILE`.

With `--into PAGE` they replace what is between the page's two comments
`<!-- figures -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import CLIENTS, REFERENCE
from workloads import GROUPS, UNITS, WORKLOADS, Metric, Workload

OURS = frozenset(client.name for client in CLIENTS if client.how == "checkout")
# No client: what moving the bytes costs without MQTT.
FLOOR = next(client.name for client in CLIENTS if client.how == "bare")

# The metrics that are also shown as multiples of the floor.
COMPARED_WITH_FLOOR: tuple[Metric, ...] = ("cpu_us_per_message", "p50_us")

START, END = "<!-- figures -->", "<!-- end of figures -->"


@dataclass(slots=True)
class Cell:
    """All rounds of one client in one workload."""

    values: dict[Metric, list[float]] = field(default_factory=dict)
    problem: str = ""

    def median(self, metric: Metric) -> float | None:
        values = self.values.get(metric)
        return None if self.problem or not values else statistics.median(values)

    def spread(self, metric: Metric) -> float:
        """Return the largest distance of a round from the median, as a part of it."""
        values = self.values[metric]
        median = statistics.median(values)
        farthest = max(max(values) - median, median - min(values))
        return farthest / median if median else 0.0


Cells = dict[tuple[str, str], Cell]  # by workload and client


@dataclass(slots=True)
class Report:
    machine: dict[str, str]
    # The clients' versions by name, in the order of the rows; "": unknown.
    clients: dict[str, str]
    cells: Cells
    # Every run of every round: only for the JSON.
    runs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Report:
        cells = {
            (cell["workload"], cell["client"]): Cell(cell["values"], cell["problem"])
            for cell in content["cells"]
        }
        return cls(content["machine"], content["clients"], cells, content["runs"])

    def measured_again(self, later: Report) -> Report:
        """Replace workloads by those of a later run of the same clients."""
        workloads = {workload for workload, _ in later.cells}
        cells = {
            key: cell for key, cell in self.cells.items() if key[0] not in workloads
        }
        runs = [run for run in self.runs if run["workload"] not in workloads]
        rounds, date = later.machine["rounds"], later.machine["date"]
        note = f"{', '.join(sorted(workloads))} ({rounds} rounds on {date})"
        return Report(
            self.machine | {"measured again": note},
            later.clients,
            cells | later.cells,
            runs + later.runs,
        )

    def as_json(self) -> dict[str, Any]:
        cells = [
            {
                "workload": workload,
                "client": client,
                "problem": cell.problem,
                "medians": {metric: cell.median(metric) for metric in cell.values},
                "values": cell.values,
            }
            for (workload, client), cell in self.cells.items()
        ]
        return {
            "machine": self.machine,
            "clients": self.clients,
            "cells": cells,
            "runs": self.runs,
        }

    def markdown(self) -> str:
        """Return the machine, and a table for each group of workloads."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        sections = [machine]
        measured = {workload for workload, _ in self.cells}
        for group, title in GROUPS.items():
            workloads = [
                workload
                for workload in WORKLOADS
                if workload.group == group and workload.name in measured
            ]
            if workloads:
                sections.append(self._table(title, workloads))
        told: dict[tuple[str, str], list[str]] = {}  # by client and problem
        for (workload, client), cell in self.cells.items():
            if in_short(cell.problem) != cell.problem:
                told.setdefault((client, cell.problem), []).append(workload)
        if told:
            problems = [
                f"- {client}, {', '.join(workloads)}: {problem}"
                for (client, problem), workloads in told.items()
            ]
            sections.append("\n".join(problems))
        return "\n\n".join(sections)

    def _table(self, title: str, workloads: Sequence[Workload]) -> str:
        """A row for each client, a column for each metric of each workload.

        Where the floor was measured, a column tells how many times that it is.
        """
        columns = [(w, metric) for w in workloads for metric in w.metrics]
        units = {metric for _, metric in columns}
        unit = f", {UNITS[columns[0][1]]}" if len(units) == 1 else ""
        heads = []
        for w, metric in columns:
            heads.append(w.title if unit else f"{w.title}, {UNITS[metric]}")
            if self._has_floor(w, metric):
                heads.append("x floor")
        rows = [["client", *heads]]
        for client, version in self.clients.items():
            figures = []
            for w, metric in columns:
                figures.append(self._figure(client, w, metric))
                if self._has_floor(w, metric):
                    figures.append(self._times_floor(client, w, metric))
            if set(figures) != {"n/a"}:
                name = client if version in client else f"{client} {version}"
                rows.append([f"**{name}**" if client in OURS else name, *figures])
        return f"**{title}{unit}**\n\n{aligned(rows)}"

    def _median(self, client: str, workload: Workload, metric: Metric) -> float | None:
        cell = self.cells.get((workload.name, client))
        return cell.median(metric) if cell else None

    def _has_floor(self, workload: Workload, metric: Metric) -> bool:
        if metric not in COMPARED_WITH_FLOOR:
            return False
        return self._median(FLOOR, workload, metric) is not None

    def _times_floor(self, client: str, workload: Workload, metric: Metric) -> str:
        median = self._median(client, workload, metric)
        floor = self._median(FLOOR, workload, metric)
        return f"{median / floor:.2f}" if median is not None and floor else "n/a"

    def _figure(self, client: str, workload: Workload, metric: Metric) -> str:
        """Median, ratio to the reference and spread, or the problem."""
        cell = self.cells.get((workload.name, client))
        if cell is None:
            return "n/a"
        if cell.problem:
            return f"*{in_short(cell.problem)}*"
        median = cell.median(metric)
        if median is None:
            return "n/a"
        text = number(median)
        base = self._median(REFERENCE, workload, metric)
        if base and client != REFERENCE:
            ratio = median / base
            text += f" ({ratio:.0f}x)" if ratio >= 10 else f" ({ratio:.2f}x)"
        if len(cell.values[metric]) > 1:
            text += f" ±{cell.spread(metric):.0%}"
        return text


def in_short(problem: str) -> str:
    """Return the problem without the program's output, which is below the tables."""
    return problem.partition(":")[0]


def aligned(rows: list[list[str]]) -> str:
    """A Markdown table whose source is readable too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [
            text.rjust(width) if index else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def number(value: float) -> str:
    """Three significant digits."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what run.py --json wrote")
    parser.add_argument("--into", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    content = json.loads(arguments.file.read_text(encoding="utf-8"))
    markdown = Report.from_json(content).markdown()
    if arguments.into is None:
        print(markdown)
        return
    before, start, rest = arguments.into.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        parser.error(f"{arguments.into} has no {START} with {END} after it")
    page = f"{before}{START}\n\n{markdown}\n\n{END}{after}"
    arguments.into.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
