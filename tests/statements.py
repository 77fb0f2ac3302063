"""The normative statements of MQTT, as tables, and which tests hold them.

The tables are the project's own words for the standard's statements:

- client_statements.tsv: what a client has to do;
- server_statements_client_detects.tsv: what a client sees of a server's fault;
- unnumbered_inbound_rules_v5.tsv: rules of 5.0 that carry no number.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

TABLES = Path(__file__).parent / "conformance"

Row = dict[str, str]
Statement = tuple[str, str]  # version, id without brackets


def read_table(name: str) -> list[Row]:
    with (TABLES / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"{name}: a row with missing or surplus fields: {row}")
    return rows


def numbered() -> dict[Statement, str]:
    """Every numbered statement with its paraphrase, in the tables' order."""
    statements = {}
    for table, text in (
        ("client_statements.tsv", "paraphrase"),
        ("server_statements_client_detects.tsv", "what_the_client_sees"),
    ):
        for row in read_table(table):
            statements[row["version"], plain_id(row["id"])] = row[text]
    return statements


def unnumbered() -> list[Row]:
    """The rules of 5.0 without a number: section, packet, rule, reason_code."""
    return read_table("unnumbered_inbound_rules_v5.tsv")


def plain_id(label: str) -> str:
    return label.strip("[]")


def marked(version: object = None, *ids: object) -> list[Statement]:
    """The statements that `conformance(version, *ids)` names.

    Raises ValueError for what is in no table: a typo must not count as a test.
    """
    known = numbered_statements
    versions = sorted({known_version for known_version, _ in known})
    if version not in versions:
        raise ValueError(f"the version is one of {versions}, not {version!r}")
    if not ids:
        raise ValueError("no statement is named")
    statements = [(str(version), plain_id(str(label))) for label in ids]
    for statement in statements:
        if statement not in known:
            raise ValueError(f"MQTT {version} has no statement {statement[1]!r}")
    return statements


def report(tested: Iterable[Statement]) -> list[str]:
    """The statements that have no test yet, one a line, and the count."""
    have = set(tested)
    missing = [statement for statement in numbered_statements if statement not in have]
    lines = [
        f"{version:5}  {label:16}  {numbered_statements[version, label]}"
        for version, label in missing
    ]
    total = len(numbered_statements)
    lines.append(f"{total - len(missing)} of {total} statements have a test")
    return lines


numbered_statements = numbered()
