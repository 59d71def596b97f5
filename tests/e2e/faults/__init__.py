"""Faults of the container: what is done to it, what it promises, and what was measured."""
