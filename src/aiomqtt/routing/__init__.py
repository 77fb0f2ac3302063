"""Which topic filters a topic matches (MQTT 5.0 §4.7)."""
