"""The smoke test: the shipped manifests on a Kubernetes cluster, and what happens to pods there."""
