"""How a sidecar runs: the bootstrap document, the traffic redirection rules, and the numbers both rely on."""
