"""The workflows and forms of GitHub, which nothing here runs: they fit the project."""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

# Of the checkout, whichever build is installed.
pytestmark = pytest.mark.once("pure")

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.name: path for path in ROOT.glob(".github/workflows/*.yml")}
# A version's tag or branch, as the action's own documentation has it.
PINNED = re.compile(r"([\w-]+/[\w-]+)@((?:release/)?v\d+)")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read(WORKFLOWS[name])["jobs"]
    return found


def triggers(name: str) -> dict[str, Any]:
    # To YAML 1.1, `on` is a boolean.
    found: dict[str, Any] = read(WORKFLOWS[name])[True]
    return found


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return job.get("steps") or []


def test_each_action_has_one_version():
    versions: dict[str, set[str]] = {}
    for name in WORKFLOWS:
        for job in jobs(name).values():
            for step in steps(job):
                if "uses" in step:
                    pinned = PINNED.fullmatch(step["uses"])
                    assert pinned, step["uses"]
                    versions.setdefault(pinned[1], set()).add(pinned[2])
    assert versions
    assert {action for action, found in versions.items() if len(found) > 1} == set()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_unless_a_job_says_more(name):
    assert read(WORKFLOWS[name])["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_runs_is_there(name):
    for job in jobs(name).values():
        for step in steps(job):
            for path in re.findall(r"(?:scripts|tests)/[\w./-]+", step.get("run", "")):
                assert (ROOT / path).exists(), path


# --- publishing -----------------------------------------------------------------


def test_what_is_published_is_what_was_built():
    build, publish = jobs("publish.yml").values()
    assert build["uses"] == "./.github/workflows/wheels.yml"
    assert "workflow_call" in triggers("wheels.yml")
    assert publish["needs"] == "build"
    download, compare, upload = steps(publish)
    assert download["uses"].startswith("actions/download-artifact@")
    assert download["with"] == {"path": "dist", "merge-multiple": True}
    assert "dist/aiomqtt-${TAG#v}.tar.gz" in compare["run"]
    assert upload["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert "with" not in upload  # no token


def test_a_tag_is_published_once_and_only_as_a_release():
    assert triggers("publish.yml") == {"release": {"types": ["published"]}}
    assert "push" not in triggers("wheels.yml")


def test_only_the_job_that_publishes_has_an_identity():
    """And no code of the project runs there."""
    having = {
        (name, job_name)
        for name in WORKFLOWS
        for job_name, job in jobs(name).items()
        if job.get("permissions")
    }
    assert having == {("publish.yml", "publish")}
    job = jobs("publish.yml")["publish"]
    assert job["permissions"] == {"id-token": "write"}
    assert not any("checkout" in step.get("uses", "") for step in steps(job))


def test_the_artifacts_of_a_build_have_names_of_their_own():
    """With two artifacts of one name, the second upload fails."""
    found = [
        step["with"]["name"]
        for job in jobs("wheels.yml").values()
        for step in steps(job)
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert found == ["wheels-${{ matrix.os }}", "pure"]


# --- Windows and macOS ---------------------------------------------------------

# What other systems lack, or have otherwise.
OF_THE_SYSTEM = {
    *("fcntl", "pwd", "resource", "signal", "socket", "sqlite3", "ssl", "subprocess"),
    *("tests.brokers", "tests.certificates", "tests.own_broker", "tests.peer"),
}


def run_elsewhere() -> list[Path]:
    """The files of tests that the workflow runs on Windows and macOS."""
    [command] = [
        step["run"]
        for step in steps(jobs("ci.yml")["elsewhere"])
        if "pytest" in step.get("run", "")
    ]
    paths = [ROOT / path for path in re.findall(r"tests/\S+", command)]
    files = [path for path in paths if path.is_file()]
    for directory in paths:
        files += directory.rglob("*.py")
    return files


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_what_runs_elsewhere_needs_nothing_of_the_system():
    files = run_elsewhere()
    assert len(files) > 40
    for path in files:
        assert imported_by(path) & OF_THE_SYSTEM == set(), path


def test_the_oldest_and_the_newest_version_run_elsewhere():
    matrix = jobs("ci.yml")["elsewhere"]["strategy"]["matrix"]
    assert matrix["python"] == [versions()[0], versions()[-1]]


# --- the versions of Python -----------------------------------------------------


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def versions() -> list[str]:
    """Return the versions of Python on which the suite must pass."""
    text = (ROOT / "scripts" / "lib.sh").read_text(encoding="utf-8")
    [found] = re.findall(r"^VERSIONS=\((.*)\)$", text, re.MULTILINE)
    return str(found).split()


def test_the_suite_runs_on_each_version():
    assert jobs("ci.yml")["suite"]["strategy"]["matrix"]["python"] == versions()


def test_each_version_is_a_classifier():
    prefix = "Programming Language :: Python :: 3."
    found = [
        name.rpartition(" ")[2]
        for name in project()["project"]["classifiers"]
        if name.startswith(prefix)
    ]
    assert found == versions()
    assert project()["project"]["requires-python"] == f">={versions()[0]}"


def test_each_version_has_a_compiled_wheel():
    wheels = project()["tool"]["cibuildwheel"]["build"].split()
    assert wheels == [f"cp{version.replace('.', '')}-*" for version in versions()]


def test_contributors_read_of_each_version():
    *others, last = versions()
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"{', '.join(others)} and {last}" in text


# --- forms ----------------------------------------------------------------------

FORMS = sorted(path.name for path in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))
TEMPLATES = [*ROOT.glob(".github/ISSUE_TEMPLATE/*"), *ROOT.glob(".github/*.md")]


def form(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read(ROOT / ".github" / "ISSUE_TEMPLATE" / name)
    return found


def fields(name: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a form."""
    return {field["id"]: field for field in form(name)["body"] if "id" in field}


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_github_can_show_the_form(name):
    """Its keys are those that GitHub knows; of a form with others it shows none."""
    content = form(name)
    assert set(content) == {"name", "description", "labels", "body"}
    labels = [field["attributes"].get("label") for field in fields(name).values()]
    assert len(set(labels)) == len(labels)
    for field in content["body"]:
        keys = set(field["attributes"])
        match field["type"]:
            case "markdown":
                assert keys == {"value"}
            case "input":
                assert {"label"} <= keys <= {"label", "description", "placeholder"}
            case "textarea":
                assert {"label"} <= keys <= {"label", "description", "render"}
            case "dropdown":
                assert {"label", "options"} <= keys
                assert all(type(name) is str for name in field["attributes"]["options"])
            case other:
                pytest.fail(f"no such type: {other}")


def test_a_bug_report_has_what_it_takes_to_find_the_bug():
    required = {
        name
        for name, field in fields("bug.yml").items()
        if field.get("validations", {}).get("required")
    }
    assert required == {"version", "python", "broker", "mqtt", "what", "log"}
    assert "program" in fields("bug.yml")


def test_all_issues_are_made_with_a_form():
    assert FORMS == ["bug.yml", "config.yml", "feature.yml"]
    assert form("config.yml")["blank_issues_enabled"] is False
    [link] = form("config.yml")["contact_links"]
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert link["url"] in security


def test_what_the_form_says_of_the_log_works():
    description = fields("bug.yml")["log"]["attributes"]["description"]
    [lines] = re.findall(
        r"^```python\n(.*?)^```$", description, re.DOTALL | re.MULTILINE
    )
    program = lines + textwrap.dedent(
        """
        import asyncio
        import aiomqtt

        async def main():
            async with aiomqtt.Broker() as broker:
                async with aiomqtt.Client(
                    broker.host, broker.port, username="u", password="secret"
                ) as client:
                    await client.publish("t", "payload")

        asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    for packet in ("CONNECT", "CONNACK", "PUBLISH", "DISCONNECT"):
        assert packet in done.stderr
    assert "secret" not in done.stderr
    assert "payload" not in done.stderr


def test_what_the_templates_name_is_there():
    for template in TEMPLATES:
        text = template.read_text(encoding="utf-8")
        own = r"github\.com/empicano/aiomqtt/blob/main/([\w./-]+\w)"
        for path in re.findall(own, text) + re.findall(r"`(\w+[./][\w./]*)`", text):
            assert path.startswith("aiomqtt.") or (ROOT / path).exists(), path
