"""Connections through a proxy: SOCKS4, SOCKS5, and HTTP with its method CONNECT."""
