"""Installing from a source distribution, with and without a C compiler."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "examples" / "temperature.py"
SAID = "aiomqtt: not compiled, it will run from its source"

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("AIOMQTT_TEST_BUILD") == "compiled",
        reason="the same whichever build runs it",
    ),
    pytest.mark.timeout(300),
]


def run(*command: str | Path, **environment: str) -> str:
    """Run a command without what this suite has set; what it said, all of it."""
    inherited = {
        name: value for name, value in os.environ.items() if "AIOMQTT" not in name
    }
    done = subprocess.run(
        list(map(str, command)),
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, made of a copy: building leaves files behind."""
    directory = tmp_path_factory.mktemp("sdist")
    copy = directory / "checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    without = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    shutil.copytree(CHECKOUT / "src", copy / "src", ignore=without)
    build = (sys.executable, "-m", "build", "--sdist", "--outdir", directory, copy)
    run(*build, AIOMQTT_PURE="1")
    [made] = directory.glob("*.tar.gz")
    return made


def install(directory: Path, sdist: Path, **environment: str) -> tuple[Path, str]:
    """Install into a new environment; its interpreter, and what pip said."""
    run(sys.executable, "-m", "venv", directory)
    python = directory / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--verbose", "--no-cache-dir", sdist)
    return python, run(*pip, **environment)


def build_of(python: Path) -> str:
    return run(python, "-m", "aiomqtt", "--version").split()[2].strip("(,")


def test_without_a_compiler_it_installs_and_works_and_says_so_once(
    sdist, tmp_path, mosquitto
):
    # Nothing is on the PATH, so no compiler either.
    python, said = install(tmp_path, sdist, PATH=str(tmp_path / "empty"))
    assert said.count(SAID) == 1
    assert f"{SAID}: there is no C compiler" in said
    assert build_of(python) == "pure"
    shown = run(python, EXAMPLE, mosquitto.host, str(mosquitto.port))
    assert "received temperature/outside: 28.4" in shown


def test_with_a_compiler_that_fails_it_installs_and_works_and_says_so_once(
    sdist, tmp_path, mosquitto
):
    compiler = tmp_path / "failing-cc"
    compiler.write_text("#!/bin/sh\necho this compiler does not work >&2\nexit 1\n")
    compiler.chmod(0o755)
    python, said = install(tmp_path / "venv", sdist, CC=str(compiler))
    assert said.count(SAID) == 1
    assert build_of(python) == "pure"
    assert not list((tmp_path / "venv").rglob("*aiomqtt*/**/*.so"))
    shown = run(python, EXAMPLE, mosquitto.host, str(mosquitto.port))
    assert "received temperature/outside: 28.4" in shown


def test_required_and_not_possible_is_an_error(sdist, tmp_path):
    with pytest.raises(AssertionError, match="there is no C compiler"):
        install(tmp_path, sdist, PATH="", AIOMQTT_REQUIRE_COMPILED="1")


def test_asked_for_pure_compiles_nothing_and_fits_every_platform(sdist, tmp_path):
    wheel = (sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, sdist)
    said = run(*wheel, AIOMQTT_PURE="1")
    assert SAID not in said
    [made] = tmp_path.glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")


def test_with_a_compiler_it_is_compiled_and_has_its_source_too(
    sdist, tmp_path, mosquitto
):
    python, said = install(tmp_path, sdist)
    assert SAID not in said
    assert build_of(python) == "compiled"
    assert "(pure," in run(python, "-m", "aiomqtt", "--version", AIOMQTT_PURE="1")
    shown = run(python, EXAMPLE, mosquitto.host, str(mosquitto.port))
    assert "received temperature/outside: 28.4" in shown
