"""Packets to bytes and back (MQTT 5.0 §2 and §3), for both roles.

`encode` and `decode` follow the table and know every packet of every version.
`fast` and `stream` are the hot path: a shorter way to the same bytes and packets.
"""
