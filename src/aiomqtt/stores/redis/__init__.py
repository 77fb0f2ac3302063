"""The store that keeps the session of a client on a Redis or Valkey server."""
