"""The tests that the documentation shows pass as they stand there."""

import pytest

from tests.documentation import blocks

pytest_plugins = ["pytester"]

PAGE = blocks("docs/testing-fixtures.md")
[README] = [text for text in blocks("README.md") if "import pytest" in text]
# By the name of the file for each.
TESTS = {f"test_page_{number}": text for number, text in enumerate(PAGE)}
TESTS["test_readme"] = README

ASYNCIO_ONLY = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.once("pure")
@pytest.mark.parametrize("runner", ["anyio", "asyncio"])
def test_the_examples_pass(pytester, monkeypatch, runner):
    files = TESTS
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = {"anyio": "anyio.pytest_plugin", "asyncio": "pytest_asyncio.plugin"}
    if runner == "anyio":
        pytester.makeconftest(ASYNCIO_ONLY)
    else:
        files = {
            name: text.replace("@pytest.mark.anyio", "@pytest.mark.asyncio")
            for name, text in TESTS.items()
        }
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(**files)
    result = pytester.runpytest_inprocess(
        *("-p", plugins[runner], "-p", "aiomqtt.testing.plugin"),
        *("-W", "error", "--strict-markers", "-q"),
    )
    assert result.ret == 0
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}
    # Each file has a test at least.
    assert outcomes["passed"] >= len(TESTS)


def test_there_are_examples():
    assert len(TESTS) == len(PAGE) + 1
    assert len(PAGE) >= 4
