"""Matching of topics and topic filters (MQTT 5.0 §4.7)."""
