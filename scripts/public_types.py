"""Check the public types with pyright, as a user's editor does. It must be on the PATH.

At least 98 % of the public names must have types, and tests/typed_program.py must pass
outside the checkout, where pyright rejects names that a module only imports.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOWEST = 0.98
PROGRAM = Path("tests/typed_program.py")


def incomplete() -> int:
    """Print the public names without types; return 1 if there are too many."""
    command = ["pyright", "--verifytypes", "aiomqtt", "--ignoreexternal"]
    ran = subprocess.run([*command, "--outputjson"], stdout=subprocess.PIPE, text=True)
    report = json.loads(ran.stdout)
    for diagnostic in report["generalDiagnostics"]:
        print(diagnostic["message"])
    found = report["typeCompleteness"]
    for symbol in found["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            reasons = [one["message"] for one in symbol["diagnostics"]]
            print(symbol["name"], *reasons, sep="\n    ")
    score = found["completenessScore"]
    count = sum(found["exportedSymbolCounts"].values())
    print(f"{score:.2%} of {count} public names have types")
    return int(score < LOWEST)


def refused() -> int:
    """Check the program; return 1 if pyright reports anything."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, PROGRAM.name)
        copy.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
        return subprocess.run(["pyright", copy.name], cwd=directory).returncode


if __name__ == "__main__":
    sys.exit(incomplete() | refused())
