"""Received messages on their way to the program: queues and iterators."""
