"""The constants of the standard that the code uses by name, each defined once.

The rows of `tables` repeat the numbers of packets and reason codes, since the tables
must be complete; a test checks that they agree. The numbers are plain literals, so that
mypyc compiles them into the code that imports them. Section numbers are those of
MQTT 5.0.
"""

from typing import Final

# --- versions, by the level that CONNECT carries (§3.1.2.2) ------------------------

V31: Final = 3
V311: Final = 4
V5: Final = 5

# --- bounds ------------------------------------------------------------------------

# Strings and binary data carry their length in two bytes (§1.5.4, §1.5.6).
MAXIMUM_STRING_LENGTH: Final = 0xFFFF
# The largest remaining length, and the largest variable byte integer (§1.5.5).
MAXIMUM_REMAINING_LENGTH: Final = 0x0FFF_FFFF
MAXIMUM_PACKET_ID: Final = 0xFFFF
# The Receive Maximum if CONNECT or CONNACK does not set one (§3.1.2.11.3).
DEFAULT_RECEIVE_MAXIMUM: Final = 0xFFFF

# --- first bytes: the type and the flags (§2.1) --------------------------------------

CONNECT_FIRST_BYTE: Final = 0x10
# Without DUP, QoS and RETAIN.
PUBLISH_FIRST_BYTE: Final = 0x30
PUBACK_FIRST_BYTE: Final = 0x40
PUBREC_FIRST_BYTE: Final = 0x50
PUBREL_FIRST_BYTE: Final = 0x62
PUBCOMP_FIRST_BYTE: Final = 0x70

# --- reason codes (§2.4); 0 to 2 are success, or the granted QoS ----------------------

DISCONNECT_WITH_WILL_MESSAGE: Final = 0x04
NO_MATCHING_SUBSCRIBERS: Final = 0x10
NO_SUBSCRIPTION_EXISTED: Final = 0x11
CONTINUE_AUTHENTICATION: Final = 0x18
RE_AUTHENTICATE: Final = 0x19
# This code and all higher ones report a failure.
FIRST_FAILURE: Final = 0x80
UNSPECIFIED_ERROR: Final = 0x80
MALFORMED_PACKET: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
IMPLEMENTATION_SPECIFIC_ERROR: Final = 0x83
UNSUPPORTED_PROTOCOL_VERSION: Final = 0x84
CLIENT_IDENTIFIER_NOT_VALID: Final = 0x85
BAD_USER_NAME_OR_PASSWORD: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
SERVER_UNAVAILABLE: Final = 0x88
SERVER_BUSY: Final = 0x89
BANNED: Final = 0x8A
SERVER_SHUTTING_DOWN: Final = 0x8B
BAD_AUTHENTICATION_METHOD: Final = 0x8C
KEEP_ALIVE_TIMEOUT: Final = 0x8D
SESSION_TAKEN_OVER: Final = 0x8E
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
PACKET_IDENTIFIER_IN_USE: Final = 0x91
PACKET_IDENTIFIER_NOT_FOUND: Final = 0x92
RECEIVE_MAXIMUM_EXCEEDED: Final = 0x93
TOPIC_ALIAS_INVALID: Final = 0x94
PACKET_TOO_LARGE: Final = 0x95
MESSAGE_RATE_TOO_HIGH: Final = 0x96
QUOTA_EXCEEDED: Final = 0x97
ADMINISTRATIVE_ACTION: Final = 0x98
PAYLOAD_FORMAT_INVALID: Final = 0x99
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
USE_ANOTHER_SERVER: Final = 0x9C
SERVER_MOVED: Final = 0x9D
SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0x9E
CONNECTION_RATE_EXCEEDED: Final = 0x9F
MAXIMUM_CONNECT_TIME: Final = 0xA0
SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Final = 0xA1
WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0xA2
