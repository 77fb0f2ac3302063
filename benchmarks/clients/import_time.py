"""Time and memory of `import MODULE`, beyond an interpreter that has asyncio already.

Called as `import_time.py MODULE`; prints one line of JSON. It imports nothing else
before the reading ends (`common` included): what MODULE needs is MODULE's cost.
"""

import asyncio  # noqa: F401 - the programs of all these clients have it loaded
import sys
import time


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM (0 without /proc)."""
    try:
        # pathlib would be an import.
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("VmRSS:"))
    except OSError:
        return 0
    return int(line.split()[1]) * 1024


def measure(module: str) -> dict[str, float]:
    memory = resident_bytes()
    wall = time.perf_counter()
    cpu = time.process_time()
    __import__(module)
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "import_bytes": resident_bytes() - memory,
        "count": 1,
    }


if __name__ == "__main__":
    result = measure(sys.argv[1])

    import json
    import platform
    from importlib.metadata import packages_distributions, version

    package = sys.argv[1].partition(".")[0]
    names = {
        "version": version(packages_distributions()[package][0]),
        "python": platform.python_version(),
    }
    print(json.dumps(names | result), flush=True)
