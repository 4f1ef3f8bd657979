"""`weft demo`: the shop, and proof with real requests that the mesh does what it says."""

from __future__ import annotations

import typer

from controlplane.cli import options
from controlplane.demo.run import run_demo


def demo(as_json: options.AsJson = False) -> None:
    """Start the example shop, prove its claims with real requests, and clean up. Exit 1 if a claim fails."""
    if not run_demo(as_json=as_json):
        raise typer.Exit(1)
