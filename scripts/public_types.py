"""Check the public types as the type checker of a user sees them: pyright, on the PATH.

Of the public names at least 98 % have to have types, and tests/typed_program.py has to
pass from outside of the checkout, where what a module only imports is not its own.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOWEST = 0.98
PROGRAM = Path("tests/typed_program.py")


def incomplete() -> int:
    """Tell which public names have no types; return 1 if these are too many."""
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
    """Check the program; return 1 if there is anything to say of it."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, PROGRAM.name)
        copy.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
        return subprocess.run(["pyright", copy.name], cwd=directory).returncode


if __name__ == "__main__":
    sys.exit(incomplete() | refused())
