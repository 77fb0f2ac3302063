"""The reason codes that each packet may carry, by number."""

from functools import cache

from aiomqtt.properties import ReasonCode
from aiomqtt.standard.names import V5
from aiomqtt.standard.tables import PacketType, Role, reason_codes


@cache
def codes_of(kind: PacketType, version: int, sender: Role) -> dict[int, ReasonCode]:
    """Return the codes of a packet from a sender, built on first use."""
    codes = reason_codes(kind, version, sender)
    if kind is PacketType.CONNACK and version < V5:
        return {code: ReasonCode.of_connack(code) for code in codes}
    return {code: ReasonCode(code, name) for code, name in codes.items()}
