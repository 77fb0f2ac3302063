"""Compare two revisions of this package by the instructions that a message takes.

Both are built as a user would build them, and run the same workloads under callgrind,
which counts instructions: the figures are the same whatever else the machine does. It
fails where one takes more than the threshold.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from in_process import WORKLOADS

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
CACHE = CHECKOUT / ".compare"
# The name of the revision that is measured by default.
WORK_TREE = "work tree"
# The files that a build depends on.
CONTENTS = ("src", "setup.py", "pyproject.toml", "README.md", "LICENSE")


class CompareError(Exception):
    """A requirement of the comparison is missing, or a step failed."""


@dataclass(frozen=True, slots=True)
class Build:
    """An installed revision."""

    revision: str
    site: Path


def main() -> int:
    arguments = parse_arguments()
    try:
        # valgrind would run the shell script that a version manager has in its place.
        command = [arguments.python, "-c", "import sys; print(sys.executable)"]
        arguments.python = run(command, arguments.python).stdout.strip()
        if arguments.profile:
            head = build(arguments.head, arguments)
            profile(head, arguments.profile, arguments.python)
            return 0
        base = build(arguments.base or default_base(arguments.head), arguments)
        head = build(arguments.head, arguments)
        return compare(base, head, arguments)
    except CompareError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2


def compare(base: Build, head: Build, arguments: argparse.Namespace) -> int:
    """Print the table; 1 if a workload takes more than the threshold."""
    print(f"| instructions per message | {base.revision} | {head.revision} | change |")
    print("|---|---:|---:|---:|", flush=True)
    worse = []
    for name in arguments.workloads:
        before = instructions(base, name, arguments.python)
        after = instructions(head, name, arguments.python)
        if after is None:
            raise CompareError(f"{head.revision} can't do {name}")
        if before is None:
            print(f"| {name} | n/a | {after:,.0f} | |", flush=True)
            continue
        change = 100 * (after / before - 1)
        if change > arguments.threshold:
            worse.append(f"{name} {change:+.1f} %")
        print(
            f"| {name} | {before:,.0f} | {after:,.0f} | {change:+.1f} % |", flush=True
        )
    if worse:
        print(f"\nmore than {arguments.threshold:g} % worse: {', '.join(worse)}")
        return 1
    print(f"\nno workload is more than {arguments.threshold:g} % worse")
    return 0


def instructions(build: Build, name: str, python: str) -> float | None:
    """Instructions per message; None where the revision has no such call."""
    command = [*under_callgrind(Path(os.devnull)), *workload(name, python)]
    done = run(command, name, **environment(build))
    if not done.stdout.strip():
        return None
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if collected is None:
        raise CompareError(f"callgrind told nothing of {name}:\n{done.stderr}")
    return int(collected[1]) / int(done.stdout)


def profile(build: Build, name: str, python: str) -> None:
    """Print where the instructions of a workload go, calls included."""
    file = CACHE / "callgrind.out"
    command = [*under_callgrind(file), *workload(name, python)]
    done = run(command, name, **environment(build))
    if not done.stdout.strip():
        raise CompareError(f"{build.revision} can't do {name}")
    print(f"{name}: divide by {done.stdout.strip()} for the instructions per message")
    annotate = ["callgrind_annotate", "--inclusive=yes", "--threshold=95", str(file)]
    subprocess.run(annotate, check=True)


@cache
def without_randomization() -> tuple[str, ...]:
    """Return a command that fixes the addresses; a container may forbid it."""
    command = ("setarch", "-R")
    try:
        subprocess.run([*command, "true"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ()
    return command


def under_callgrind(file: Path) -> list[str]:
    return [
        *without_randomization(),
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={file}",
    ]


def workload(name: str, python: str) -> list[str]:
    return [python, str(HERE / "in_process.py"), str(collector()), name]


def environment(build: Build) -> dict[str, str]:
    return {
        "PYTHONPATH": str(build.site),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def collector() -> Path:
    """Build the library with which a workload starts and stops the counting."""
    source = HERE / "callgrind.c"
    library = CACHE / "callgrind.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(exist_ok=True)
        run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], "cc")
    return library


def build(revision: str, arguments: argparse.Namespace) -> Build:
    """Install a revision into a directory of its own, unless it is there already."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        return build_in(Path(directory), revision, arguments)


def build_in(directory: Path, revision: str, arguments: argparse.Namespace) -> Build:
    source = directory / "source"
    source.mkdir()
    if revision == WORK_TREE:
        for name in CONTENTS:
            if (CHECKOUT / name).is_dir():
                junk = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(CHECKOUT / name, source / name, ignore=junk)
            else:
                shutil.copy2(CHECKOUT / name, source)
    else:
        found = git("rev-parse", "--verify", "--short", f"{revision}^{{commit}}")
        archive = directory / "source.tar"
        git("archive", f"--output={archive}", found)
        shutil.unpack_archive(archive, source, "tar", filter="data")
        revision = found
    way = {"AIOMQTT_PURE": "1"} if arguments.pure else {"AIOMQTT_REQUIRE_COMPILED": "1"}
    site = CACHE / digest(source, arguments.python, *way)
    if not site.exists():
        print(f"building {revision}", file=sys.stderr)
        made = directory / "site"
        pip = [arguments.python, "-m", "pip", "install", "--disable-pip-version-check"]
        options = ["--no-deps", "--target", str(made), str(source)]
        run([*pip, *options], f"the build of {revision}", **way)
        try:
            # Renamed at once, so that a directory that exists is complete.
            made.rename(site)
        except OSError:
            # Another comparison has built it meanwhile.
            if not site.exists():
                raise
    return Build(revision, site)


def digest(source: Path, *parameters: str) -> str:
    made_of = hashlib.sha256("\0".join(parameters).encode())
    for name in CONTENTS:
        for file in sorted([source / name, *(source / name).rglob("*.py")]):
            if file.is_file():
                made_of.update(str(file.relative_to(source)).encode())
                made_of.update(file.read_bytes())
    return made_of.hexdigest()[:16]


def default_base(head: str) -> str:
    """Return the last commit if the work tree has changed, else the one before it."""
    if head == WORK_TREE and git("status", "--porcelain", *CONTENTS[:3]):
        return "HEAD"
    return ("HEAD" if head == WORK_TREE else head) + "~1"


def git(*arguments: str) -> str:
    done = run(["git", "-C", str(CHECKOUT), *arguments], f"git {arguments[0]}")
    return done.stdout.strip()


def run(
    command: list[str], what: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise CompareError(f"{command[0]} is not there") from None
    except subprocess.CalledProcessError as error:
        raise CompareError(f"{what} failed:\n{error.stdout}{error.stderr}") from error


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "base",
        nargs="?",
        help="a revision; without it, the last commit, or the one before it when"
        " nothing has changed since",
    )
    parser.add_argument(
        "head",
        nargs="?",
        default=WORK_TREE,
        help="another one (default: the work tree)",
    )
    parser.add_argument(
        "--threshold", type=float, default=5.0, help="per cent (default: 5)"
    )
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS)
    )
    parser.add_argument(
        "--pure", action="store_true", help="compare what isn't compiled"
    )
    parser.add_argument(
        "--profile",
        choices=WORKLOADS,
        help="show where the instructions of HEAD go, and compare nothing",
    )
    parser.add_argument("--python", default=sys.executable, help="that runs them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
