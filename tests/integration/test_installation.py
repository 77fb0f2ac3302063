"""Installing from a source distribution without a C compiler, and what is in it.

With a compiler, each environment of the compiled build is such an installation, and
`tests/test_build.py` runs in it.

The packages that a build needs are those of the environment for development: to install
them for each build takes longer than the build. One of the tests does as pip does.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import aiomqtt
from tests.once import made_once

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "examples" / "temperature.py"
# What git ignores, and git itself.
MADE_BY_TOOLS = (
    *(".git", ".venv*", ".envs", ".compare", "node_modules", ".*_cache", ".hypothesis"),
    *("__pycache__", "*.egg-info", "*.so", "build", "dist"),
)
SAID = "aiomqtt: not compiled, it will run from its source"
NOT_ISOLATED = "--no-build-isolation"
# For what mypyc would make of the hot modules, in half a minute.
TO_C = """
def compile_to_c():
    found = []
    for name in ("message", "topic"):
        Path(f"{name}.c").write_text(f"int aiomqtt_{name};")
        found.append(Extension(f"aiomqtt.{name}", [f"{name}.c"]))
    return found


"""
# It compiles the first of them.
FAILING_COMPILER = """#!/bin/sh
case "$*" in
*topic.c*) echo this compiler does not work >&2; exit 1 ;;
esac
exec cc "$@"
"""

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("AIOMQTT_TEST_BUILD") == "compiled",
        reason="the same whichever build runs it",
    ),
    # To build takes long on a busy machine.
    pytest.mark.timeout(600),
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
    """The source distribution."""
    [made] = made_once(tmp_path_factory, "sdist", build).glob("*.tar.gz")
    return made


def build(directory: Path) -> None:
    """Make it of a copy: building leaves files behind."""
    copy = directory / "checkout"
    without = shutil.ignore_patterns(*MADE_BY_TOOLS)
    shutil.copytree(CHECKOUT, copy, ignore=without)
    command = (sys.executable, "-m", "build", "--sdist", "--no-isolation", copy)
    run(*command, "--outdir", directory, AIOMQTT_PURE="1")


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that is in the source distribution."""
    parent = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as tar:
        tar.extractall(parent, filter="data")
    [directory] = parent.iterdir()
    return directory


@pytest.fixture(scope="module")
def pure_wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made when a pure build is asked for, as pip makes it."""
    directory = tmp_path_factory.mktemp("wheel")
    wheel = (sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", directory, sdist)
    # Of what it installs for that, it would compile what is not imported.
    said = run(*wheel, AIOMQTT_PURE="1", PIP_NO_COMPILE="1")
    assert SAID not in said
    [made] = directory.glob("*.whl")
    return made


def install(directory: Path, source: Path, **environment: str) -> tuple[Path, str]:
    """Install into a new environment; its interpreter, and what pip said.

    It is the pip of this environment: to install another takes longer than the rest.
    """
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    [packages] = directory.glob("lib/python*/site-packages")
    pip = (sys.executable, "-m", "pip", "install", "--verbose", NOT_ISOLATED)
    options = ("--no-deps", "--no-cache-dir", "--no-compile", "--target", packages)
    return directory / "bin" / "python", run(*pip, *options, source, **environment)


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
    unpacked, tmp_path, mosquitto
):
    source = tmp_path / "source"
    shutil.copytree(unpacked, source)
    setup, compiler = source / "setup.py", tmp_path / "failing-cc"
    text, end = setup.read_text(), "is_wanted = "
    setup.write_text(text.replace(end, TO_C + end, 1))
    compiler.write_text(FAILING_COMPILER)
    compiler.chmod(0o755)
    python, said = install(tmp_path / "venv", source, CC=str(compiler))
    assert "this compiler does not work" in said
    [reason] = re.findall(f"{SAID}: (.*)", said)
    assert str(compiler) in reason
    assert "topic.c" in reason
    assert build_of(python) == "pure"
    # Nor is there anything of what it compiled before it failed.
    assert list(source.rglob("message.o"))
    assert not list((tmp_path / "venv").rglob("*aiomqtt*/**/*.so"))
    shown = run(python, EXAMPLE, mosquitto.host, str(mosquitto.port))
    assert "received temperature/outside: 28.4" in shown


def test_required_and_not_possible_is_an_error(sdist, tmp_path):
    wheel = (sys.executable, "-m", "pip", "wheel", NOT_ISOLATED, "-w", tmp_path, sdist)
    with pytest.raises(AssertionError, match="there is no C compiler"):
        run(*wheel, PATH="", AIOMQTT_REQUIRE_COMPILED="1")


def test_asked_for_pure_compiles_nothing_and_fits_every_platform(pure_wheel):
    assert pure_wheel.name.endswith("-py3-none-any.whl")


# --- the source distribution --------------------------------------------------------


@pytest.mark.skipif(
    not (CHECKOUT / ".git").exists(), reason="it is a source distribution itself"
)
def test_the_source_distribution_has_all_of_the_project(unpacked):
    listed = run("git", "-C", CHECKOUT, "ls-files")
    of_git = (".gitignore", "benchmarks/.gitignore")
    for name in listed.splitlines():
        if not name.startswith(of_git) and (CHECKOUT / name).exists():
            assert (unpacked / name).exists(), name


def test_the_tests_of_the_source_distribution_run(unpacked):
    parts = ("test_topic.py", "test_types.py", "protocol/codec/test_decode.py")
    pytest_command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    said = run(
        *(*pytest_command, "--rootdir", unpacked, "-c", unpacked / "pyproject.toml"),
        *(unpacked / "tests" / part for part in parts),
        # Whichever of the two is installed, it is this one that is tested.
        PYTHONPATH=str(unpacked / "src"),
    )
    assert re.search(r"\d{3,} passed", said)
    assert "failed" not in said


def test_a_wheel_has_nothing_but_the_package(pure_wheel):
    with zipfile.ZipFile(pure_wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    version = aiomqtt.__version__
    assert tops == {"aiomqtt", f"aiomqtt-{version}.dist-info"}
