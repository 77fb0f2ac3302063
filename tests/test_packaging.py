"""The metadata of the installed package, and its commands."""

import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points, metadata, requires, version
from pathlib import Path

import aiomqtt


def test_the_version_is_the_one_of_the_package():
    assert version("aiomqtt") == aiomqtt.__version__


def test_a_release_candidate_is_beta():
    """Stable it is when all of aiomqtt 2.5 is there."""
    classifiers = metadata("aiomqtt").get_all("Classifier") or []
    [status] = [name for name in classifiers if name.startswith("Development Status")]
    assert status == "Development Status :: 4 - Beta"


def test_nothing_is_required_but_some_packages_can_be_asked_for():
    wanted = {
        "paho": "paho-mqtt",
        "proxy": "python-socks",
        "redis": "redis",
        "srv": "dnspython",
        "websockets": "websockets",
    }
    for found in requires("aiomqtt") or []:
        requirement, _, condition = found.partition(";")
        extra = condition.strip().replace("'", '"').removeprefix("extra == ")
        assert requirement.startswith(wanted.pop(extra.strip('"')))
    assert wanted == {}


def test_the_links_of_the_package():
    links = metadata("aiomqtt").get_all("Project-URL") or []
    names = {link.partition(", ")[0] for link in links}
    assert names == {"Source", "Documentation", "Changelog", "Issue tracker"}


def test_the_command_is_installed():
    [command] = entry_points(group="console_scripts", name="aiomqtt")
    assert command.value == "aiomqtt.cli.main:main"
    program = Path(sysconfig.get_path("scripts")) / "aiomqtt"
    shown = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(f"aiomqtt {aiomqtt.__version__} (")


def test_help_names_the_program_as_it_was_run():
    for command, program in (
        ([Path(sysconfig.get_path("scripts")) / "aiomqtt"], "aiomqtt"),
        ([sys.executable, "-m", "aiomqtt"], "python -m aiomqtt"),
    ):
        shown = subprocess.run(
            [*command, "--help"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.startswith(f"usage: {program} [")
