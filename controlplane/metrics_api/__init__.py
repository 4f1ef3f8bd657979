"""The SMI metrics API, `metrics.smi-spec.io`, as an aggregated API server of a cluster."""
