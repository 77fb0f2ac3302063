"""Check the structure of the source: import circles, lengths, missing test files.

Run it in the root of the checkout; `scripts/structure.toml` lists the exceptions.
"""

import ast
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import grimp

SOURCE = Path("src/aiomqtt")
TESTS = Path("tests")
EXCEPTIONS = Path("scripts/structure.toml")


def import_circles() -> list[str]:
    """Name a circle of imports, if there is one; ignore those for TYPE_CHECKING."""
    graph = grimp.build_graph(
        "aiomqtt", exclude_type_checking_imports=True, cache_dir=None
    )
    imports = {
        module: graph.find_modules_directly_imported_by(module)
        for module in graph.modules
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        return [f"import circle: {circle}"]
    return []


def long_files(files: list[str], most: int, own: dict[str, int]) -> list[str]:
    """Name the files with too many lines, and the limits that are no longer needed."""
    problems = []
    for name in files:
        lines = len((SOURCE / name).read_text(encoding="utf-8").splitlines())
        limit = own.get(name, most)
        if lines > limit:
            problems.append(
                f"{SOURCE / name}: {lines} lines, at most {limit}: split it"
            )
        elif lines <= most < limit:
            problems.append(f"{name} has {lines} lines: remove it from [own_limit]")
    return problems


def long_definitions(files: list[str], most: dict[str, int]) -> list[str]:
    """Name the classes and functions with too many lines.

    The docstring of a function does not count: it is the contract of its callers.
    """
    problems = []
    for name in files:
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(
                node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                continue
            lines = lines_of(node)
            kind = "function"
            if isinstance(node, ast.ClassDef):
                kind = "class"
            elif ast.get_docstring(node) is not None:
                lines -= lines_of(node.body[0])
            if lines > most[kind]:
                problems.append(
                    f"{SOURCE / name}: {kind} {node.name}: {lines} lines,"
                    f" at most {most[kind]}: split it"
                )
    return problems


def lines_of(node: ast.stmt) -> int:
    """Return the number of lines of a statement."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def tests_of(name: str) -> list[Path]:
    """Return the test files of a module: see "Tests" in CONTRIBUTING.md."""
    directory, stem = TESTS / Path(name).parent, Path(name).stem
    return [
        *directory.glob(f"test_{stem}.py"),
        *directory.glob(f"test_{stem}_*.py"),
        *(directory / stem).glob("test_*.py"),
    ]


def untested_modules(files: list[str], elsewhere: dict[str, str]) -> list[str]:
    """Name the modules that have no test file and are not listed as exceptions."""
    problems = []
    for name in files:
        if Path(name).name == "__init__.py":
            continue
        if tests_of(name):
            if name in elsewhere:
                problems.append(f"{name} has a test file: remove it from [elsewhere]")
        elif name not in elsewhere:
            expected = TESTS / Path(name).with_name(f"test_{Path(name).name}")
            problems.append(f"{SOURCE / name}: its test file {expected} is missing")
        elif not Path(elsewhere[name]).exists():
            problems.append(f"{name}: there is no {elsewhere[name]}")
    return problems


def problems() -> list[str]:
    """Return all problems, one line for each."""
    exceptions: dict[str, Any] = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    own, elsewhere = exceptions["own_limit"], exceptions["elsewhere"]
    files = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    gone = sorted({*own, *elsewhere} - {*files})
    return [
        *(f"{name} is gone: remove it from {EXCEPTIONS}" for name in gone),
        *import_circles(),
        *long_files(files, exceptions["most_lines"], own),
        *long_definitions(files, exceptions["most_lines_of"]),
        *untested_modules(files, elsewhere),
    ]


if __name__ == "__main__":
    sys.path.insert(0, "src")
    found = problems()
    print(*found or ["no circle, nothing too long, no module without tests"], sep="\n")
    sys.exit(1 if found else 0)
