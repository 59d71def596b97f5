"""The base image, the release's assets, and the image built from them."""
