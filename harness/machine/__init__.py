"""This machine: what it has, and what interrupted runs left on it."""
