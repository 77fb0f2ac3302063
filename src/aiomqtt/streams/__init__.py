"""The way of received messages to the program: queues and iterators."""
