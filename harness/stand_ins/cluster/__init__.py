"""A real Kubernetes node on this machine, for when no cluster or node image is available."""
