"""The `weft` command: one module per group of commands."""
