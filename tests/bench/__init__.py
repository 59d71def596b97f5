"""Measures the image side by side with what it is compared with."""
