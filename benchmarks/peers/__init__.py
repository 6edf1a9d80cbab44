"""Adapters to the peers: ``prepare`` is untimed, ``solve`` timed; ``rearm`` and ``finish`` are untimed and optional."""
