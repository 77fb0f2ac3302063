"""The network: transports, and the driver that connects one to the engine."""
