"""The tables of a broker.

The rows of a session have the number of its row in `aiomqtt_sessions`, so that its end
is a few statements.
"""

from typing import Final

from .file import Schema

_CREATE: Final = (
    # `will_topic`: NULL, there is no will.
    """
    CREATE TABLE aiomqtt_sessions (
        number INTEGER PRIMARY KEY,
        client_id TEXT NOT NULL UNIQUE,
        is_v5 INTEGER NOT NULL DEFAULT 0,
        expiry INTEGER NOT NULL DEFAULT 0,
        ends REAL,
        will_due REAL,
        will_qos INTEGER,
        will_retain INTEGER,
        will_topic TEXT,
        will_properties BLOB,
        will_payload BLOB,
        checksum INTEGER
    )
    """,
    # `released`: the order in which the PUBRECs came; NULL: none has.
    # `checksum`: of topic, properties and payload, which are deleted at the PUBREC.
    """
    CREATE TABLE aiomqtt_outgoing (
        session INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        state INTEGER NOT NULL,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        expires REAL,
        released INTEGER,
        reason_code INTEGER NOT NULL,
        identifiers TEXT,
        share TEXT,
        topic TEXT NOT NULL,
        properties BLOB,
        payload BLOB NOT NULL,
        checksum INTEGER,
        PRIMARY KEY (session, sequence)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE aiomqtt_blocked (
        session INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE aiomqtt_received (
        session INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE aiomqtt_subscriptions (
        session INTEGER NOT NULL,
        filter TEXT NOT NULL,
        qos INTEGER NOT NULL,
        no_local INTEGER NOT NULL,
        retain_as_published INTEGER NOT NULL,
        identifier INTEGER NOT NULL,
        PRIMARY KEY (session, filter)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE aiomqtt_retained (
        number INTEGER PRIMARY KEY,
        topic TEXT NOT NULL UNIQUE,
        qos INTEGER NOT NULL,
        expires REAL,
        properties BLOB,
        payload BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
)

_SECOND: Final = (
    # With which QoS and RETAIN flag the message of a shared subscription was published.
    "ALTER TABLE aiomqtt_outgoing ADD COLUMN published INTEGER NOT NULL DEFAULT 0",
    # The subscriptions whose retained messages are still being sent, in the order of
    # their numbers: that of the last one sent, and the largest of those to send.
    """
    CREATE TABLE aiomqtt_pending_retained (
        session INTEGER NOT NULL,
        filter TEXT NOT NULL,
        sent INTEGER NOT NULL,
        newest INTEGER NOT NULL,
        PRIMARY KEY (session, filter)
    ) WITHOUT ROWID
    """,
)

BROKER_SCHEMA: Final = Schema(
    0x4D515442, "the sessions of a broker", (_CREATE, _SECOND)
)

# The tables with rows of a session.
OF_SESSION: Final = (
    "aiomqtt_outgoing",
    "aiomqtt_blocked",
    "aiomqtt_received",
    "aiomqtt_subscriptions",
    "aiomqtt_pending_retained",
)
