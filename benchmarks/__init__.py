"""Benchmarks: one file a question, the peers beside rectifold (see README.md)."""
