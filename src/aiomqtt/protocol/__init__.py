"""The protocol engine: MQTT without I/O, without a clock, without asyncio."""
