"""Benchmark the image against its alternatives."""
