"""Where the engine meets the network: transports, and the driver of a connection."""
