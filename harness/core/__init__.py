"""Shared by all other packages: errors, console, data types, waiting."""
