"""Each name against its row of the tables."""

import re

import pytest

from aiomqtt.standard import names, tables

NAMES = {name: value for name, value in vars(names).items() if name.isupper()}
FIRST_BYTES = {name for name in NAMES if name.endswith("_FIRST_BYTE")}
REASONS = {
    re.sub(r"\W", "_", row.name.upper()): row.code
    for row in tables.REASON_CODES
    # 0 to 2 are success, or the QoS that was granted.
    if row.code > 2
}


def test_the_reason_codes():
    assert {name: NAMES.get(name) for name in REASONS} == REASONS


def test_where_failures_begin():
    failures = [code for code in REASONS.values() if code >= names.FIRST_FAILURE]
    assert min(failures) == names.FIRST_FAILURE


@pytest.mark.parametrize("name", sorted(FIRST_BYTES))
def test_first_bytes(name):
    packet = tables.PacketType[name.removesuffix("_FIRST_BYTE")]
    assert NAMES[name] == packet << 4 | (tables.PACKET[packet].flags or 0)


@pytest.mark.parametrize("version", tables.ProtocolVersion)
def test_the_versions(version):
    assert NAMES[version.name] == version


def test_the_bounds():
    two_bytes = tables.MAXIMA[tables.DataType.TWO_BYTE_INTEGER]
    assert two_bytes == names.MAXIMUM_STRING_LENGTH
    assert two_bytes == names.MAXIMUM_PACKET_ID
    assert (
        tables.PROPERTY_NAMES["receive_maximum"].largest
        == names.DEFAULT_RECEIVE_MAXIMUM
    )
    assert (
        tables.MAXIMA[tables.DataType.VARIABLE_BYTE_INTEGER]
        == names.MAXIMUM_REMAINING_LENGTH
    )


def test_that_no_name_is_without_a_test():
    others = NAMES.keys() - REASONS.keys() - FIRST_BYTES
    assert others - {version.name for version in tables.ProtocolVersion} == {
        "DEFAULT_RECEIVE_MAXIMUM",
        "FIRST_FAILURE",
        "MAXIMUM_PACKET_ID",
        "MAXIMUM_REMAINING_LENGTH",
        "MAXIMUM_STRING_LENGTH",
    }
