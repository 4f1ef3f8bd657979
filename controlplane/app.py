"""The composition root of a control plane that reads folders: every stateful part is made here and passed on."""

from __future__ import annotations

from ca.authority import Authority
from ca.providers.records import FolderRecords
from ca.providers.settings import Surroundings
from ca.sealing import sealing
from ca.storage import Folder
from ca.tokens import TokenAuthenticator
from controlplane.plane import ControlPlane, assemble
from controlplane.providing import workloads
from controlplane.settings import ControlPlaneSettings
from controlplane.status import Status
from kube.clock import SYSTEM_CLOCK
from sources.folder import FolderSource

__all__ = ["ControlPlane", "control_plane"]


def control_plane(settings: ControlPlaneSettings) -> ControlPlane:
    """Make all parts. Raises ca.storage's error when the CA folder can't be trusted."""
    authority = Authority.open(
        settings.ca_folder,
        settings.mesh.trust_domain,
        lifetimes=settings.lifetimes,
        sealing=sealing(settings.ca_key),
        aliases=settings.trust_domain_aliases,
    )
    around = Surroundings(trust_domain=settings.mesh.trust_domain, clock=SYSTEM_CLOCK)
    return assemble(
        settings,
        FolderSource(settings.paths, settings.overlay),
        authority,
        TokenAuthenticator.open(
            settings.ca_folder, settings.mesh.trust_domain, others=lambda: authority.issuers.domains.known
        ),
        Status(),
        workloads(settings.ca_provider, authority, FolderRecords(Folder.open(settings.ca_folder)), around),
    )
