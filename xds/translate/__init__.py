"""Translation: the Mesh as Envoy v3 resources. Rule: nothing in a shared resource depends on the proxy."""
