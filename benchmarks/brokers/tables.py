"""The brokers' figures as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from report import aligned, in_short, number

from brokers.plan import UNITS, WORKLOADS, Metric, Workload

# The reference brokers.
REFERENCES = ("amqtt", "aedes")


@dataclass(slots=True)
class Cell:
    """All rounds of one broker in one workload."""

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


@dataclass(slots=True)
class Tables:
    machine: Mapping[str, str]
    versions: dict[str, str]  # of the brokers, in the order of the rows
    ours: frozenset[str]
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)  # only for the JSON
    notes: list[str] = field(default_factory=list)

    def cell(self, workload: Workload, broker: str) -> Cell:
        return self.cells.setdefault((workload.name, broker), Cell())

    def as_json(self) -> dict[str, Any]:
        cells = [
            {
                "workload": workload,
                "broker": broker,
                "problem": cell.problem,
                "medians": {metric: cell.median(metric) for metric in cell.values},
                "values": cell.values,
            }
            for (workload, broker), cell in self.cells.items()
        ]
        return {
            "machine": self.machine,
            "brokers": self.versions,
            "notes": self.notes,
            "cells": cells,
            "runs": self.runs,
        }

    def markdown(self) -> str:
        """Return the machine, a table for each workload, and the problems."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        sections = [machine, *self.notes]
        measured = {workload for workload, _ in self.cells}
        sections += [self._table(w) for w in WORKLOADS if w.name in measured]
        problems = [
            f"- {broker}, {workload}: {cell.problem}"
            for (workload, broker), cell in self.cells.items()
            if in_short(cell.problem) != cell.problem
        ]
        if problems:
            sections.append("\n".join(problems))
        return "\n\n".join(sections)

    def _table(self, workload: Workload) -> str:
        """Return a row for each broker: metrics and their ratios to the references."""
        references = [
            name for name in REFERENCES if (workload.name, name) in self.cells
        ]
        heads = ["broker"]
        for index, metric in enumerate(workload.metrics):
            heads += [UNITS[metric], *(f"to {name}" for name in references)]
            if workload.base is not None and not index:
                heads.append(workload.base[1])
        rows = [heads]
        for broker, version in self.versions.items():
            if (workload.name, broker) in self.cells:
                name = f"{broker} {version}"
                rows.append(
                    [
                        f"**{name}**" if broker in self.ours else name,
                        *self._figures(workload, broker, references),
                    ]
                )
        return f"**{workload.title}**\n\n{aligned(rows)}"

    def _figures(
        self, workload: Workload, broker: str, references: Sequence[str]
    ) -> list[str]:
        cell = self.cells[workload.name, broker]
        texts = []
        for index, metric in enumerate(workload.metrics):
            median = cell.median(metric)
            if median is None:
                problem = in_short(cell.problem) or "n/a"
                texts.append("" if index else f"*{problem}*")
            else:
                text = in_digits(median)
                if len(cell.values[metric]) > 1:
                    text += f" ±{cell.spread(metric):.0%}"
                texts.append(text)
            others = [self.cells[workload.name, name] for name in references]
            if workload.base is not None and not index:
                others.append(self.cells.get((workload.base[0], broker), Cell()))
            texts += [ratio(median, other.median(metric)) for other in others]
        return texts


def in_digits(value: float) -> str:
    """Three significant digits, with separators."""
    if value < 100:
        return number(value)
    unit = 10 ** (len(str(int(value))) - 3)
    return f"{round(value / unit) * unit:,}"


def ratio(value: float | None, base: float | None) -> str:
    if value is None or not base:
        return ""
    quotient = value / base
    if quotient < 0.01:
        return "<0.01x"
    return f"{quotient:,.0f}x" if quotient >= 10 else f"{quotient:.2f}x"
