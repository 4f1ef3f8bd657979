"""The file that says who signs workloads' leaves (`weft run --ca-provider FILE`): YAML, one provider and its settings.

Rule: a name that is not known here is refused with the field it stands in; there is nothing secret in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ca.providers.cert_manager import CertManager, IssuerRef
from ca.providers.cluster_signer import COLLECTION, ClusterSigner, from_file, from_trust_bundles
from ca.providers.handed_over import HandedOver, folder_reader, secret_reader
from ca.providers.provider import LARGEST, Provider, RootsFile
from ca.providers.request_objects import RequestObjects
from ca.providers.vault import TOKEN_FILE, Vault, VaultSettings
from kube.client import Client
from kube.clock import Clock

PATIENCE: Final = 60.0
"""Seconds that a controller, or who approves, may take by default."""


class ProviderSettingsError(ValueError):
    """The file can't be used; the text names it, and the field."""


class HandedOverFile(
    msgspec.Struct, frozen=True, kw_only=True, tag="handed-over", tag_field="provider", forbid_unknown_fields=True
):
    """An intermediate in a folder, or in a Secret of the control plane's namespace."""

    folder: str = ""
    secret: str = ""

    def __post_init__(self) -> None:
        if bool(self.folder) == bool(self.secret):
            raise ValueError("name either folder or secret")


class CertManagerFile(
    msgspec.Struct, frozen=True, kw_only=True, tag="cert-manager", tag_field="provider", rename="camel",
    forbid_unknown_fields=True,
):  # fmt: skip
    """Who signs, the file of roots, and where requests are made: the control plane's namespace where none is named."""

    issuer: IssuerRef
    roots: str
    namespace: str = ""
    patience_seconds: float = PATIENCE


class ClusterSignerFile(
    msgspec.Struct, frozen=True, kw_only=True, tag="kubernetes", tag_field="provider", rename="camel",
    forbid_unknown_fields=True,
):  # fmt: skip
    """A signer of the cluster. Without a file of roots they are those of the signer's ClusterTrustBundles."""

    signer_name: str
    roots: str = ""
    patience_seconds: float = PATIENCE


class VaultFile(
    msgspec.Struct, frozen=True, kw_only=True, tag="vault", tag_field="provider", rename="camel",
    forbid_unknown_fields=True,
):  # fmt: skip
    """A Vault; see ca.providers.vault.VaultSettings."""

    address: str
    role: str
    mount: str = "pki"
    auth_role: str = "weft"
    auth_mount: str = "kubernetes"
    token_file: str = str(TOKEN_FILE)
    namespace: str = ""
    ca_file: str = ""
    roots: str = ""

    def __post_init__(self) -> None:
        if not self.address.startswith("https://"):
            raise ValueError("address begins with https://")


class SpireFile(
    msgspec.Struct, frozen=True, kw_only=True, tag="spire", tag_field="provider", rename="camel",
    forbid_unknown_fields=True,
):  # fmt: skip
    """Sidecars ask a SPIFFE Workload API by themselves: the names of what they ask for, and a file of SPIRE's roots.

    The names are those of SPIRE's own defaults (`default_svid_name`, `default_bundle_name`).
    """

    roots: str
    certificate_name: str = "default"
    bundle_name: str = "ROOTCA"


ProviderFile = HandedOverFile | CertManagerFile | ClusterSignerFile | VaultFile | SpireFile
Signing = HandedOverFile | CertManagerFile | ClusterSignerFile | VaultFile


def read_settings(path: Path) -> ProviderFile:
    """What the file says. Raises ProviderSettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
        found: ProviderFile = msgspec.yaml.decode(content, type=ProviderFile)
    except OSError as error:
        raise ProviderSettingsError(f"{path} can't be read: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise ProviderSettingsError(f"{path}: {error}") from error
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a provider may need of the process it is in. No client: objects come from folders."""

    trust_domain: str
    clock: Clock
    client: Client | None = None
    namespace: str = ""


def provider(settings: Signing, around: Surroundings) -> Provider:
    """The provider that was chosen. Raises ProviderSettingsError."""
    match settings:
        case VaultFile():
            return Vault(_vault(settings), around.clock)
        case HandedOverFile(folder=folder) if folder:
            return HandedOver(folder_reader(Path(folder)), around.trust_domain, around.clock, folder)
        case HandedOverFile(secret=name):
            read = secret_reader(_client(around, "a Secret"), around.namespace, name)
            return HandedOver(read, around.trust_domain, around.clock, f"Secret {around.namespace}/{name}")
        case CertManagerFile():
            namespace = settings.namespace or around.namespace
            path = f"/apis/cert-manager.io/v1/namespaces/{namespace}/certificaterequests"
            requests = RequestObjects(_client(around, "cert-manager"), path, settings.patience_seconds, around.clock)
            return CertManager(requests, settings.issuer, RootsFile(Path(settings.roots)))
        case ClusterSignerFile():
            client = _client(around, "a signer of the cluster")
            requests = RequestObjects(client, COLLECTION, settings.patience_seconds, around.clock)
            roots = from_file(RootsFile(Path(settings.roots))) if settings.roots else None
            name = settings.signer_name
            return ClusterSigner(requests, name, roots or from_trust_bundles(client, name))


def _client(around: Surroundings, what: str) -> Client:
    if around.client is None:
        raise ProviderSettingsError(f"{what} is asked by the API server: that takes --kubernetes")
    return around.client


def _vault(settings: VaultFile) -> VaultSettings:
    return VaultSettings(
        address=settings.address,
        role=settings.role,
        mount=settings.mount.strip("/"),
        auth_role=settings.auth_role,
        auth_mount=settings.auth_mount.strip("/"),
        token_file=Path(settings.token_file),
        namespace=settings.namespace,
        ca_file=Path(settings.ca_file) if settings.ca_file else None,
        roots=RootsFile(Path(settings.roots)) if settings.roots else None,
    )
