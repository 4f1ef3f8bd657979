"""From the Mesh to Envoy v3: one module per kind of resource, every piece remembered while its input is equal."""
