"""The protocol engine: MQTT without I/O, clock or asyncio."""
