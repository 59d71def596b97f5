"""Diagnosis of this machine, and cleanup after interrupted runs."""
