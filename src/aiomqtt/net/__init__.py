"""Where the engine meets the network: transports, and the runner of a connection."""
