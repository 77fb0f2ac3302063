"""The journal of a program: it is read without the line that a kill has cut."""

from tests.campaign.journal import Journal, read_journal


def test_lines_are_there_for_the_next_process(tmp_path):
    path = tmp_path / "journal"
    assert read_journal(path) == {}
    Journal(path).note("promised", 3)
    Journal(path).note("forgotten", 12)
    assert read_journal(path) == {"promised": [3], "forgotten": [12]}
    with path.open("a") as file:
        file.write("promised 1")
    assert read_journal(path)["promised"] == [3]
