"""The Kubernetes manifests, and the smoke test that deploys them."""
