"""Fuzzing of every parser: quick in the default run, long with `nox -s fuzz`."""
