"""Builds one container image from many regional binaries, proves it and reports the proof."""

__version__ = "0.1.0"
