"""The parts of `benchmarks/brokers.py`: the load, the broker programs, the tables.

Each `run_*` is the program of one broker. It prints one line of JSON, `port` and
`version`, when it listens on loopback, and serves until it is killed.
"""
