"""The acceptance run: what must be true of the image, measured from outside."""
