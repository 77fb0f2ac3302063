"""The tests that docs/testing-simulation.md shows pass as they stand there."""

from tests.documentation import blocks

pytest_plugins = ["pytester"]

PAGE = blocks("docs/testing-simulation.md")


def test_the_examples_pass(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    files = {f"test_page_{number}": text for number, text in enumerate(PAGE)}
    pytester.makepyfile(**files)
    result = pytester.runpytest_inprocess("-W", "error", "-q")
    result.assert_outcomes(passed=len(PAGE))
    assert len(PAGE) == 4
