"""Fuzz every parser: briefly in the default test run, at length with `nox -s fuzz`."""
