"""Adapters to the peers: each module has ``prepare`` (untimed) and ``solve`` (timed); ``rearm`` and ``finish`` are optional."""
