"""The broker's sockets, TLS and event loop, and the hooks that it calls."""
