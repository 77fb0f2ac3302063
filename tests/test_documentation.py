"""The pages of the documentation: their programs run, their links lead somewhere."""

import ast
import re

import pytest

from tests.documentation import ROOT, programs
from tests.forked_programs import run

# Of the checkout, whichever build is installed.
pytestmark = pytest.mark.once("pure")

PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
REPOSITORY = re.compile(
    r"https://(?:github\.com/empicano/aiomqtt/(?:blob|tree)"
    r"|raw\.githubusercontent\.com/empicano/aiomqtt)/main/([^)\s#]+)"
)

CASES = [
    *(("docs/broker.md", number) for number in range(4)),
    *(("docs/observing.md", number) for number in range(3)),
    *(("docs/requests.md", number) for number in range(2)),
    *(("docs/testing-faults.md", number) for number in range(4)),
    ("docs/testing-transports.md", 0),
]


@pytest.mark.parametrize(("page", "number"), CASES)
def test_the_program_runs(page, number):
    result = run("-c", programs(page)[number])
    assert (result.returncode, result.stderr) == (0, "")


def test_no_program_is_left_out():
    assert len(programs("docs/broker.md")) == 5
    assert len(programs("docs/observing.md")) == 3
    assert len(programs("docs/requests.md")) == 2
    assert len(programs("docs/testing-faults.md")) == 4
    assert len(programs("docs/testing-transports.md")) == 1


def targets(page: str) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"\]\(([^)\s]+)\)", text)
    return inline + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page):
    for target in targets(page):
        inside = REPOSITORY.fullmatch(target.partition("#")[0])
        if inside:
            path = ROOT / inside[1]
        elif "://" in target or target.startswith(("#", "mailto:")):
            continue
        else:
            path = (ROOT / page).parent / target.partition("#")[0]
        assert path.exists(), target


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "aiomqtt"


def test_the_files_of_the_architecture_are_there():
    named = {*re.findall(r"[\w./-]+(?:\.py|\.md|/)(?![\w/.-])", ARCHITECTURE)}
    assert len(named) > 60
    for name in sorted(named - {"$share/", "share/", "src/aiomqtt/"}):
        places = [SOURCE / name, ROOT / name, ROOT / "docs" / name]
        assert any(place.exists() for place in places), name


def defined_names():
    """All names of modules and classes in the source: "Engine", "Engine.take"."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in names_of(node):
                yield name
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    for name in names_of(member):
                        yield name
                        yield f"{node.name}.{name}"


def names_of(node):
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def test_the_names_of_the_architecture_are_there():
    spans = {*re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`", ARCHITECTURE)}
    named = {span for span in spans if not re.search(r"^aiomqtt\.|\.py$", span)}
    assert len(named) > 40
    assert named - {*defined_names()} == set()


NEEDS = (ROOT / "docs" / "needs.md").read_text(encoding="utf-8")


def test_every_need_and_every_trap_is_named_once():
    needs, traps = re.split(r"^## .*$", NEEDS, flags=re.MULTILINE)[1:]
    for rows, count in ((needs, 25), (traps, 10)):
        numbers = re.findall(r"^\| (\d+) \|", rows, re.MULTILINE)
        assert [*map(int, numbers)] == [*range(1, count + 1)]


def test_the_tests_of_the_needs_are_there():
    for row in re.findall(r"^\| \d+ \|.*$", NEEDS, re.MULTILINE):
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert tests, row
        for file, test in tests:
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {test}(" in text, f"{file}::{test}"


def test_the_readme_links_by_full_addresses():
    """The package index shows it too, which knows no other files."""
    assert targets("README.md")
    for target in targets("README.md"):
        assert target.startswith("https://"), target


def logged_events():
    """The names of events that the client logs."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "event"
                and len(node.args) > 1
                and isinstance(node.args[1], ast.Constant)
            ):
                yield node.args[1].value


def test_every_event_of_the_log_is_documented():
    page = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
    rows = {*re.findall(r"^\| (`\w+`.*?) \|", page, re.MULTILINE)}
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    events = {*logged_events()}
    assert len(events) > 10
    assert events - named == set()
