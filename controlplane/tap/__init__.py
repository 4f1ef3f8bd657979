"""Watching live requests: `weft tap` and the route of the admin API behind it."""
