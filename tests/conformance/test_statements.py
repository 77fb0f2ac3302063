"""The tables of normative statements, and the check of the marker."""

import re

import pytest

from tests import statements


def test_every_numbered_statement_has_version_and_id():
    for version, label in statements.numbered():
        assert version in {"3.1.1", "5.0"}
        # The standard itself writes [MQTT-3-8.3-4].
        assert re.fullmatch(r"MQTT-\d+([.-]\d+)*-\d+", label)


def test_unnumbered_rules_are_read_by_row(unnumbered_rules):
    assert {tuple(row) for row in unnumbered_rules} == {
        ("section", "packet", "rule", "reason_code")
    }
    assert any(row["reason_code"] == "0x95" for row in unnumbered_rules)


def test_brackets_around_an_id_are_optional():
    assert statements.marked("5.0", "[MQTT-1.5.4-1]", "MQTT-1.5.5-1") == [
        ("5.0", "MQTT-1.5.4-1"),
        ("5.0", "MQTT-1.5.5-1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("5.0", "MQTT-1.5.4-99"), "no statement 'MQTT-1.5.4-99'"),
        (("5.0", "MQTT-1.5.4-1", "typo"), "no statement 'typo'"),
        (("3.1", "MQTT-1.5.4-1"), "the version is one of"),
        (("5.0",), "no statement is named"),
        ((), "the version is one of"),
    ],
)
def test_what_is_in_no_table_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        statements.marked(*arguments)


def test_an_id_belongs_to_its_version():
    # 3.1.1 has no chapter on variable byte integers.
    with pytest.raises(ValueError, match=r"MQTT 3\.1\.1 has no statement"):
        statements.marked("3.1.1", "MQTT-1.5.5-1")


def test_the_report_lists_what_is_not_tested():
    every = statements.numbered()
    first, second, *_ = every
    lines = statements.report([first])
    assert len(lines) == len(every)
    assert lines[0].split()[:2] == list(second)
    assert lines[-1] == f"1 of {len(every)} statements have a test"
    assert statements.report(every) == [
        f"{len(every)} of {len(every)} statements have a test"
    ]
