"""The rules of the broker: no I/O and no clock, like the engine's."""
