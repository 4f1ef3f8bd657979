"""The node's agent towards an API server: what a kubelet does, and as much of a scheduler as one node needs."""
