"""The tests that the documentation shows pass as they stand there."""

import pytest

from tests.documentation import blocks

pytest_plugins = ["pytester"]

PAGE = blocks("docs/testing-fixtures.md")
TESTS = [
    *(pytest.param(text, id=f"fixtures-{number}") for number, text in enumerate(PAGE)),
    *(
        pytest.param(text, id="readme")
        for text in blocks("README.md")
        if "import pytest" in text
    ),
]

ASYNCIO_ONLY = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize("text", TESTS)
@pytest.mark.parametrize("runner", ["anyio", "asyncio"])
def test_the_example_passes(pytester, monkeypatch, text, runner):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = {"anyio": "anyio.pytest_plugin", "asyncio": "pytest_asyncio.plugin"}
    if runner == "anyio":
        pytester.makeconftest(ASYNCIO_ONLY)
    else:
        text = text.replace("@pytest.mark.anyio", "@pytest.mark.asyncio")
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(text)
    result = pytester.runpytest_subprocess(
        *("-p", plugins[runner], "-p", "aiomqtt.testing.plugin"),
        *("-W", "error", "--strict-markers", "-q"),
        timeout=60,
    )
    assert result.ret == 0
    assert result.parseoutcomes().keys() == {"passed"}


def test_there_are_examples():
    assert len(TESTS) == len(PAGE) + 1
    assert len(PAGE) >= 4
