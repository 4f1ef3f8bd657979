"""Who signs workloads' leaves when Weft's own issuers don't: one small interface, and what stands behind it."""
