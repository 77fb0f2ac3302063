"""The wrong clients of the chaos are still wrong: the lines that they break exist."""

import shutil

import pytest

from tests.chaos.controls import CONTROLS, ROOT, break_line


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.what)
def test_the_line_is_there(control, tmp_path):
    package = tmp_path / "aiomqtt"
    file = package / control.file
    file.parent.mkdir(parents=True)
    source = ROOT / "src" / "aiomqtt" / control.file
    shutil.copy(source, file)
    break_line(package, control)
    assert file.read_text() != source.read_text()
    compile(file.read_text(), file, "exec")
