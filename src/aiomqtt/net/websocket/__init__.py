"""Connections by WebSocket (RFC 6455), over any other transport."""
