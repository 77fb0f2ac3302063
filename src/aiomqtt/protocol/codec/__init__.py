"""Encoding and decoding of packets (MQTT 5.0 §2 and §3), for both roles.

`encode` and `decode` follow the table and support every packet of every version.
`fast` and `stream` are the hot path, which gives the same bytes and packets.
"""
