"""What a person can set about the control plane process, with the defaults people meet first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from ca.providers.settings import ProviderFile
from ca.sealing import SealSettings
from ca.settling import Lifetimes
from kube.settings import ClientSettings
from mesh.settings import MeshSettings
from proxy import ports
from xds.collector import Collector, Traces
from xds.server import TransportKind

DEFINITIONS = (
    "trafficsplits.split.smi-spec.io",
    "traffictargets.access.smi-spec.io",
    "identitybindings.access.smi-spec.io",
    "httproutegroups.specs.smi-spec.io",
    "tcproutes.specs.smi-spec.io",
    "udproutes.specs.smi-spec.io",
)
"""The CRDs whose versions our webhook converts."""

SERVER_NAMES = ("weft.weft-system.svc", "weft.weft-system.svc.cluster.local", "localhost")
"""DNS names the control plane's own certificate is made for; sidecars connect to the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """What every control plane process has, wherever its objects come from.

    `admin_socket`, where given, serves the admin API on a Unix socket too. A port of 0 picks a free one. `drain` is how
    long streams are still served after readiness was withdrawn, so that newcomers find another replica. Traffic is told
    by the Prometheus at `prometheus_url`, and read from the sidecars where that is empty.
    """

    mesh: MeshSettings = field(default_factory=MeshSettings)
    xds_address: str = "0.0.0.0"  # noqa: S104 - sidecars on other hosts are the point; every stream is authenticated
    xds_port: int = ports.XDS
    xds_transport: TransportKind = TransportKind.OWN
    admin_address: str = "127.0.0.1"
    admin_port: int = ports.CONTROL_PLANE_ADMIN
    admin_socket: Path | None = None
    server_names: tuple[str, ...] = SERVER_NAMES
    server_addresses: tuple[str, ...] = ("127.0.0.1",)
    tap: bool = True
    """Whether requests can be watched (`weft tap`): sidecars are prepared for it."""
    traces: Traces | None = None
    log_collector: Collector | None = None
    """Where access logs go instead of the sidecars' standard output (OTLP over gRPC)."""
    drain: timedelta = timedelta(0)
    prometheus_url: str = ""
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    ca_key: SealSettings = field(default_factory=SealSettings)
    """How our own issuers' keys are encrypted where they are kept."""
    ca_provider: ProviderFile | None = None
    """Who signs workloads' leaves in Weft's place (docs/ca-providers.md)."""
    trust_domain_aliases: tuple[str, ...] = ()
    """Other trust domains under our roots whose identities count as ours."""
    federation: Path | None = None
    """A file that names other meshes whose identities may be granted something (docs/federation.md)."""
    bundle_address: str = "0.0.0.0"  # noqa: S104 - it is for other meshes, and tells nothing but roots
    bundle_port: int | None = None
    """Where our own bundle is served to other meshes; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings(PlaneSettings):
    """Standalone mode: objects from folders, tokens of its own.

    `overlay` holds objects that win over those in `paths`: a local cluster writes addresses and endpoints there.
    """

    paths: tuple[Path, ...]
    ca_folder: Path
    overlay: Path | None = None


class WebhookCertificate(StrEnum):
    """Who makes the webhook's certificate and tells the API server to trust it."""

    WEFT = "weft"
    CERT_MANAGER = "cert-manager"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings(PlaneSettings):
    """In a cluster: objects from its API server, reached as `client` says.

    `namespace` is where the control plane lives. `instance` is this replica's name, of which there must be no other.
    """

    client: ClientSettings = field(default_factory=ClientSettings)
    namespace: str = "weft-system"
    instance: str
    webhook_certificate: WebhookCertificate = WebhookCertificate.WEFT
    webhook_service: str = "weft-webhook"
    webhook_configurations: tuple[str, ...] = ("weft-webhook",)
    definitions: tuple[str, ...] = DEFINITIONS
    metrics_port: int | None = None
    """Where the SMI metrics API is served, behind Service `service`; None for not."""
    metrics_address: str = "0.0.0.0"  # noqa: S104 - the API server is elsewhere; every request is authenticated
    gone_grace: timedelta = timedelta(minutes=1)
    """How long a pod must be gone before its streams are ended."""
    admin_tls_port: int | None = None
    """Where the admin API is served to those who show a token; None for not."""
    admin_tls_address: str = "0.0.0.0"  # noqa: S104 - for those who are elsewhere; every request is authenticated
    service: str = "weft"
    api_services: tuple[str, ...] = ("v1alpha1.metrics.smi-spec.io", "v1alpha2.metrics.smi-spec.io")
