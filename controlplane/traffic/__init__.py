"""Who sends how much to whom: read from the sidecars or from Prometheus, and put together by resource."""
