"""Scan what is published again: a clean image gets vulnerabilities while it does not change."""
