"""Runs GitHub Actions workflows on this machine, as far as this project's workflows go."""
