"""Publishing a release to a registry."""
