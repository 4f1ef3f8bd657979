"""Who pods are, in standalone mode: tokens signed by the mesh's own CA folder, and its trust bundle as a ConfigMap.

Rule: the folder is shared with the control plane and never shown to a pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ca.issuer_folder import read_bundle
from ca.storage import StorageError
from ca.tokens import TokenIssuer
from local.workloads import PodKey
from mesh.model import Identity, PodId

BUNDLE_NAME = "weft-root"
BUNDLE_KEY = "root.pem"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """What a token says of a pod."""

    pod: PodKey
    uid: str
    service_account: str


class Credentials(Protocol):
    """What pods prove themselves with."""

    async def token(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        """A token for a pod, valid for `lifetime` seconds. Raises local.environment.Missing while there is none."""


class MeshCredentials:
    """Those of a mesh whose CA is kept in `folder`; it is made when missing. Raises ca.storage.StorageError."""

    def __init__(self, folder: Path, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._folder = folder
        self._issuer = TokenIssuer.open(folder, trust_domain)
        self._bundle = read_bundle(folder, trust_domain).decode()

    async def token(self, pod: PodIdentity, audience: str, lifetime: int) -> str:
        """A token for a pod, valid for `lifetime` seconds."""
        identity = Identity(self._trust_domain, pod.pod.namespace, pod.service_account)
        return self._issuer.issue(
            identity,
            PodId(pod.pod.namespace, pod.pod.name),
            timedelta(seconds=lifetime),
            pod_uid=pod.uid,
            audience=audience,
        )

    def config_maps(self) -> Mapping[str, Mapping[str, str]]:
        """The trust bundle as it is now; two roots are in it while the root is rotated."""
        with suppress(StorageError):
            self._bundle = read_bundle(self._folder, self._trust_domain).decode()
        return {BUNDLE_NAME: {BUNDLE_KEY: self._bundle}}
