"""The figures of damaged files."""

import json

from tests.campaign.damage import damage_files


def test_each_file_was_read_or_refused(tmp_path):
    damage_files(3, 20_000, tmp_path / "figures")
    counts = json.loads((tmp_path / "figures").read_text())
    assert counts["refused"] > 0
    assert (
        counts["read as they were"] + counts["refused"]
        == counts["files cut"] + counts["files with an inverted page"]
    )
