"""Workloads that are measured again, as their figures varied too much."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
    )


def figures(workloads, clients, value, **machine):
    return {
        "machine": {"date": "2026-01-01", "rounds": "5", **machine},
        "clients": dict.fromkeys(clients, "1"),
        "cells": [
            {"workload": w, "client": c, "problem": "", "values": {"p50_us": [value]}}
            for w in workloads
            for c in clients
        ],
        "runs": [{"workload": w, "client": c} for w in workloads for c in clients],
    }


def test_the_figures_take_the_place_of_earlier_ones(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from report import Report

    earlier = figures(["publish-qos1", "connect"], "ab", 1.0)
    later = figures(["publish-qos1"], "ab", 2.0, rounds="9", date="2026-02-02")
    report = Report.from_json(earlier).measured_again(Report.from_json(later))
    values = {key: cell.values["p50_us"] for key, cell in report.cells.items()}
    assert values == {
        ("publish-qos1", "a"): [2.0],
        ("publish-qos1", "b"): [2.0],
        ("connect", "a"): [1.0],
        ("connect", "b"): [1.0],
    }
    assert len(report.runs) == 4
    assert report.machine["date"] == "2026-01-01"
    assert report.machine["measured again"] == "publish-qos1 (9 rounds on 2026-02-02)"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--clients", "aiomqtt"], "has other clients: paho"),
        (["--json", "other.json"], "--again and --json"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, arguments, error):
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(figures(["connect"], ["aiomqtt", "paho"], 1.0)))
    before = file.read_text()
    done = run("--again", file, *arguments)
    assert done.returncode == 2
    assert error in done.stderr
    assert file.read_text() == before
