"""The composition root of a control plane in a cluster: objects from its API server.

Rule: as in controlplane.app, every stateful part is made here and passed on by argument.
"""

from __future__ import annotations

from ca.authority import Authority
from ca.issuer_folder import Lifetimes
from ca.tokens import TokenAuthenticator
from controlplane.plane import ControlPlane, assemble
from controlplane.settings import KubernetesSettings
from controlplane.status import Status
from kube.client import Client
from sources.kubernetes import KubernetesSource

__all__ = ["ControlPlane", "control_plane"]


def control_plane(settings: KubernetesSettings, client: Client) -> ControlPlane:
    """Make all parts. `client` stays the caller's to close. Raises ca.storage's error when the CA can't be trusted."""
    source = KubernetesSource(client)
    authority = Authority.open(
        settings.ca_folder, settings.mesh.trust_domain, lifetimes=Lifetimes(leaf=settings.leaf_lifetime)
    )
    return assemble(
        settings,
        source,
        authority,
        TokenAuthenticator.open(settings.ca_folder, settings.mesh.trust_domain),
        Status(upstream=source.upstream),
    )
