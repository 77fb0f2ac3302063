"""The reason codes that each packet may carry, looked up by the number."""

from typing import Final

from aiomqtt.properties import ReasonCode
from aiomqtt.protocol.spec import PacketType, ProtocolVersion, Role, reason_codes

CODES: Final = {
    (packet, version, sender): {
        code: ReasonCode.of_connack(code)
        if packet is PacketType.CONNACK and version < ProtocolVersion.V5
        else ReasonCode(code, name)
        for code, name in reason_codes(packet, version, sender).items()
    }
    for packet in PacketType
    for version in ProtocolVersion
    for sender in Role
}
