"""A real Kubernetes node on this machine, for where no cluster and no node image can be had."""
