"""The fixtures for pytest, with older versions of the plugin that runs a test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aiomqtt
from tests.testing.test_plugin import HEAD, MARKED, SCOPED

# Environments are made, and packages downloaded.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.environ.get("AIOMQTT_TEST_BUILD") == "compiled",
        reason="the same whichever build runs it",
    ),
]

# The oldest that works, and the last before it ran fixtures that are not coroutines.
VERSIONS = ["0.24.0", "1.0.0"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment for them."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    return venv / "bin" / "python"


@pytest.mark.parametrize("version", VERSIONS)
def test_pytest_asyncio(python, tmp_path, version):
    # Installed by the pip of this environment: to install another one takes longer, and
    # so does it to compile what is not imported.
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    requirement = f"pytest-asyncio=={version}"
    subprocess.run([*pip, "--no-compile", requirement], check=True)
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "__init__.py").touch()
    (suite / "test_it.py").write_text(HEAD + MARKED + SCOPED)
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "aiomqtt.testing.plugin")
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    source = Path(aiomqtt.__file__).parents[1]
    done = subprocess.run(
        [python, "-m", "pytest", *plugins, "-q", *scope, "."],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(source)} | alone,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout
