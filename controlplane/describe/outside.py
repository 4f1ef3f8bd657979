"""What a workload may call outside the mesh, in people's words (rules H6, E1)."""

from __future__ import annotations

from typing import Any

from controlplane.describe.scene import Scene
from mesh.model import EgressGrant, Workload
from mesh.settings import Egress
from mesh.verdicts import in_words


def outside_view(scene: Scene, workload: Workload) -> list[dict[str, Any]]:
    """What EgressPolicies grant where egress is refused, a row for each; empty where it is allowed. JSON values."""
    if workload.egress is Egress.ALLOWED:
        return []
    return [_row(grant) for grant in scene.mesh.egress.get(workload.identity, ())]


def _row(grant: EgressGrant) -> dict[str, Any]:
    requests = None if grant.requests is None else [in_words(match) for match in grant.requests]
    return {
        "policy": grant.origin,
        "hosts": list(grant.hosts),
        "cidrs": list(grant.cidrs),
        "ports": [f"{port.number} ({port.protocol})" for port in grant.ports],
        "requests": requests,
    }
