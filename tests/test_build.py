"""The build in use, and how to choose it."""

import ast
import importlib.util
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import aiomqtt
from aiomqtt import __main__ as command_line

ROOT = Path(__file__).resolve().parents[1]

SHOW = """
import aiomqtt, aiomqtt.streams.stream, aiomqtt.protocol.engine as engine
print(aiomqtt.__build__, engine.__file__, aiomqtt.streams.stream.__file__)
"""


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_build_is_told_by_where_the_engine_is():
    spec = importlib.util.find_spec("aiomqtt.protocol.engine")
    assert spec is not None
    is_extension = str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))
    assert aiomqtt.__build__ == ("compiled" if is_extension else "pure")


def test_the_build_is_the_one_that_is_to_be_tested():
    wanted = os.environ.get("AIOMQTT_TEST_BUILD", aiomqtt.__build__)
    assert aiomqtt.__build__ == wanted


def test_forced_pure_imports_no_extension():
    build, *files = run("-c", SHOW, AIOMQTT_PURE="1").split()
    assert build == "pure"
    assert {Path(file).suffix for file in files} == {".py"}


@pytest.mark.parametrize("value", ["", "0"])
def test_forced_pure_can_be_turned_off(value):
    build, *_ = run("-c", SHOW, AIOMQTT_PURE=value).split()
    assert build == aiomqtt.__build__


@pytest.mark.parametrize("pure", ["0", "1"])
def test_the_command_line_tells_version_and_build(pure):
    build = "pure" if pure == "1" else aiomqtt.__build__
    shown = run("-m", "aiomqtt", "--version", AIOMQTT_PURE=pure)
    assert shown.startswith(f"aiomqtt {aiomqtt.__version__} ({build}, ")


def test_without_arguments_the_command_line_helps(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["aiomqtt"])
    command_line.main()
    assert "--version" in capsys.readouterr().out


def compiled_files():
    """The files that setup.py has compiled."""
    setup = ast.parse((ROOT / "setup.py").read_text())
    names = [
        name
        for node in setup.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("HOT", "HOT_IN_BROKER")
        for name in ast.literal_eval(node.value)
    ]
    assert "aiomqtt/broker/core/connection.py" in names
    return names


def test_what_is_compiled_is_checked_for_conditions_that_narrowing_decides():
    """mypyc takes an attribute for narrowed after a call that has changed it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    [override] = [it for it in settings["overrides"] if it.get("warn_unreachable")]
    for name in compiled_files():
        module = name.removesuffix(".py").replace("/", ".")
        assert any(fnmatchcase(module, it) for it in override["module"]), module
    assert override["enable_error_code"] == ["redundant-expr"]


def test_what_is_compiled_awaits_nothing_of_asyncio():
    """Compiled code throws in a way that Python 3.12 and newer warn of."""
    names = compiled_files()
    awaited = []
    for name in names:
        for node in ast.walk(ast.parse((ROOT / "src" / name).read_text())):
            assert not isinstance(node, ast.AsyncFor | ast.AsyncWith), name
            if isinstance(node, ast.Await):
                awaited.append(ast.unparse(node.value))
    assert awaited
    # It is made for that.
    assert all(what.startswith("Arrival(") for what in awaited)
