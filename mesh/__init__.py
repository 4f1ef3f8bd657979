"""What it all means: services, workloads, identities, routes, rules. No I/O, no Kubernetes API, no Envoy."""
