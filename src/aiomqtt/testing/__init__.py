"""For tests: of programs that use MQTT, and of this library."""
