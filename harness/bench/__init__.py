"""Side-by-side measurements: every number stands beside its comparison, taken in the same run."""
