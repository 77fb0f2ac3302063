"""The load on a broker: `python -m brokers.load PLAN`, started by `brokers.py`.

It prints one line of JSON: its figures, or the `problem`.
"""

from __future__ import annotations

import json
import os
import sys

from brokers.connections import LoadError
from brokers.idle import measure_idle
from brokers.plan import Plan
from brokers.traffic import measure_traffic


def separate(broker: int) -> None:
    """Give the load and the broker's main thread a processor each.

    Otherwise some schedulers put both on one, since they wake each other up.
    """
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        os.sched_setaffinity(broker, processors[:1])
        os.sched_setaffinity(0, processors[1:])


def main() -> None:
    plan = Plan.from_json(sys.argv[1])
    separate(plan.pid)
    figures: dict[str, float] = {}
    problem = ""
    try:
        figures = measure_idle(plan) if plan.kind == "idle" else measure_traffic(plan)
    except LoadError as error:
        problem = str(error)
    except OSError as error:
        problem = f"failed: {error}"
    print(json.dumps({"figures": figures, "problem": problem}))


if __name__ == "__main__":
    main()
