"""Medians with their spread, as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from workloads import UNITS, Metric, Workload


@dataclass(slots=True)
class Cell:
    """All rounds of one client in one workload."""

    values: dict[Metric, list[float]] = field(default_factory=dict)
    problem: str = ""

    def median(self, metric: Metric) -> float | None:
        values = self.values.get(metric)
        return None if self.problem or not values else statistics.median(values)


Cells = dict[tuple[str, str], Cell]  # by workload and client


def markdown_table(
    workloads: Sequence[Workload], clients: Sequence[str], cells: Cells, reference: str
) -> str:
    """A row for each metric of each workload, a column for each client."""
    rows = [["workload", "unit", *clients], ["---", "---", *("---:" for _ in clients)]]
    for workload in workloads:
        for metric in workload.metrics:
            base_cell = cells.get((workload.name, reference))
            base = base_cell.median(metric) if base_cell else None
            figures = [
                _figure(cells.get((workload.name, client)), metric, base)
                for client in clients
            ]
            rows.append([workload.title, UNITS[metric], *figures])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _figure(cell: Cell | None, metric: Metric, base: float | None) -> str:
    """Median, spread and ratio to the reference, or the problem."""
    if cell is None:
        return "n/a"
    if cell.problem:
        return "**" + cell.problem.replace("|", "/")[:80] + "**"
    median = cell.median(metric)
    if median is None:
        return "n/a"
    values = cell.values[metric]
    text = f"{number(median)} ({number(min(values))}-{number(max(values))})"
    if base is not None and base > 0:
        text += f" {median / base:.2f}x"
    return text


def number(value: float) -> str:
    """Three significant digits."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
