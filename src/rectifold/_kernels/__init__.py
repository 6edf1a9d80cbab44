"""Compiled loops, and the choice between them and their numpy twins."""
