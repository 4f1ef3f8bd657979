"""The composition root of a control plane in a cluster: objects from its API server, identities by its tokens.

Rule: as in controlplane.app, every stateful part is made here and passed on by argument. Every replica computes and
serves; what is written to the cluster is written by the holder of the Lease, but for what is said below.
"""

from __future__ import annotations

import random
from functools import partial

import structlog

from ca.authority import Authority
from ca.issuer_secret import NAME as ISSUERS
from ca.issuer_secret import IssuerSecret
from ca.providers.records import SecretRecords
from ca.providers.settings import Surroundings
from ca.sealing import sealing
from ca.settling import Issuers
from ca.storage import StorageError
from ca.token_review import ReviewSettings, TokenReviewer
from controlplane.cluster import Cluster, Namespaces, ProblemNews, RejectionNews, version_of
from controlplane.cluster_metrics import ClusterCollector
from controlplane.departed import Departed, Sight
from controlplane.door.serving import GuardedServer, GuardedSettings
from controlplane.duties.announcing import Announcer
from controlplane.duties.callers import CaBundles
from controlplane.duties.duty import Duties, Duty
from controlplane.duties.serving import ServingCertificate, dns_names
from controlplane.duties.trust import TrustBundles
from controlplane.metrics_api.serving import MetricsApiSettings, MetricsServer
from controlplane.plane import ControlPlane, assemble
from controlplane.providing import Workloads, workloads
from controlplane.settings import KubernetesSettings, WebhookCertificate
from controlplane.status import Status
from kube.client import ApiUnavailable, Client
from kube.clock import SYSTEM_CLOCK, Clock
from kube.lease import Leadership, LeaseSettings
from kube.objects import Pod
from kube.problem import Ref
from mesh.model import PodId
from sources.kubernetes import KubernetesSource
from webhook.settings import InjectorSettings
from xds.server import Certificate

__all__ = ["ControlPlane", "control_plane"]

RETRY = 2.0
"""Seconds between two attempts to read the CA at the start."""

log = structlog.get_logger(__name__)


async def control_plane(settings: KubernetesSettings, client: Client, clock: Clock = SYSTEM_CLOCK) -> ControlPlane:
    """Make all parts. `client` stays the caller's to close.

    Waits for an API server that is away. Raises ca.storage's error when the CA in its Secret can't be trusted.
    """
    lease = LeaseSettings(namespace=settings.namespace, identity=settings.instance)
    leadership = Leadership(client, lease, clock)
    source = KubernetesSource(client, clock)
    authority = await _authority(settings, client, leadership, source, clock)
    reviewer = TokenReviewer(
        client,
        ReviewSettings(trust_domain=settings.mesh.trust_domain, audience=InjectorSettings().token_audience),
        lambda pod: _uid(source, pod),
        clock,
    )
    status = Status(upstream=source.upstream)
    plane = assemble(
        settings, source, authority, reviewer, status, _workloads(settings, client, source, authority, clock)
    )
    problems, rejected = _announcers(settings, client, plane, clock)
    serving, duties = _duties(settings, client, plane, clock)
    held = Duties([*duties, problems.duty], clock)
    cluster = Cluster(settings.instance, leadership, held, authority, reviewer, (problems, rejected), serving)
    status.cluster = cluster
    plane.registry.register(ClusterCollector(cluster, client.latency))
    plane.parts["lease"] = lambda: leadership.run(held.perform)
    # Only the replica that has a proxy's stream hears what it refuses; Events have names that do not double.
    plane.parts["rejections"] = Duties([rejected.duty], clock).perform
    sight = Sight(uid_of=lambda pod: _uid(source, pod), in_step=lambda: source.upstream.stale_since is None)
    plane.parts["departed"] = Departed(plane.server, sight, settings.gone_grace, clock).run
    _served(settings, client, plane, clock)
    return plane


async def _authority(
    settings: KubernetesSettings, client: Client, leadership: Leadership, source: KubernetesSource, clock: Clock
) -> Authority:
    lifetimes, domain = settings.lifetimes, settings.mesh.trust_domain
    store = IssuerSecret(
        client, settings.namespace, domain, lifetimes, lambda: leadership.leading,
        instance=settings.instance, exists=lambda other: _is_there(source, settings, other),
        sealing=sealing(settings.ca_key),
    )  # fmt: skip
    issuers = await _issuers(store, clock)
    return Authority(store, issuers, domain, lifetimes, clock, random.random, settings.trust_domain_aliases)


def _workloads(
    settings: KubernetesSettings, client: Client, source: KubernetesSource, authority: Authority, clock: Clock
) -> Workloads | None:
    """Who signs workloads' leaves where we don't."""
    records = SecretRecords(
        client, settings.namespace, settings.instance, lambda other: _is_there(source, settings, other),
        authority.lifetimes.leaf.total_seconds(),
    )  # fmt: skip
    around = Surroundings(
        trust_domain=settings.mesh.trust_domain, clock=clock, client=client, namespace=settings.namespace
    )
    return workloads(settings.ca_provider, authority, records, around)


async def _issuers(store: IssuerSecret, clock: Clock) -> Issuers:
    """The issuers, as soon as the API server can be reached."""
    told = ""
    while True:
        try:
            return await store.opened(clock)
        except StorageError as error:
            if not isinstance(error.__cause__, ApiUnavailable):
                raise
            if str(error) != told:
                log.warning("waiting for the API server", reason=str(error))
            told = str(error)
            await clock.sleep(RETRY)


def _duties(
    settings: KubernetesSettings, client: Client, plane: ControlPlane, clock: Clock
) -> tuple[ServingCertificate | None, list[Duty]]:
    """What the holder of the Lease keeps as it should be, besides Events."""
    authority, mounted = plane.authority, InjectorSettings()
    group = CaBundles(
        client, settings.namespace, settings.service, authority.bundle_pem, api_services=settings.api_services
    )
    served = [group.duty] if settings.metrics_port is not None else []
    trust = TrustBundles(client, mounted.ca_config_map, mounted.ca_key, authority.bundle_pem, Namespaces(plane.store))
    if settings.webhook_certificate is not WebhookCertificate.WEFT:
        return None, [trust.duty, *served]
    names = dns_names(settings.webhook_service, settings.namespace)
    serving = ServingCertificate(client, settings.namespace, authority, names, clock)
    callers = CaBundles(
        client,
        settings.namespace,
        settings.webhook_service,
        authority.bundle_pem,
        configurations=settings.webhook_configurations,
        definitions=settings.definitions,
    )
    return serving, [trust.duty, serving.duty, callers.duty, *served]


def _certificate(settings: KubernetesSettings, plane: ControlPlane) -> Certificate:
    """The one for the Service that leads to us."""
    leaf = plane.authority.server_certificate(settings.server_names, settings.server_addresses)
    return Certificate(chain=leaf.chain_pem, key=leaf.key_pem)


def _served(settings: KubernetesSettings, client: Client, plane: ControlPlane, clock: Clock) -> None:
    """What is served besides: the SMI metrics API to the API server, the admin API to those who show a token."""
    certificate = partial(_certificate, settings, plane)
    if settings.metrics_port is not None:
        at = MetricsApiSettings(address=settings.metrics_address, port=settings.metrics_port)
        plane.parts["metrics API"] = MetricsServer(at, plane.telling, client, certificate, clock).run
    if settings.admin_tls_port is not None:
        door = GuardedSettings(address=settings.admin_tls_address, port=settings.admin_tls_port)
        plane.parts["guarded admin API"] = GuardedServer(door, plane.api, client, certificate, clock).run


def _announcers(
    settings: KubernetesSettings, client: Client, plane: ControlPlane, clock: Clock
) -> tuple[Announcer, Announcer]:
    """One for Problems, which the holder tells, and one for what the proxies of this replica refuse."""
    known = version_of(plane.store)
    problems = ProblemNews(plane.status, plane, Ref("Secret", settings.namespace, ISSUERS))
    refused = RejectionNews(plane.status, plane.server)
    return (
        Announcer(client, settings.instance, problems.wanted, problems.concerns, known, clock),
        Announcer(client, settings.instance, refused.wanted, refused.concerns, known, clock),
    )


def _is_there(source: KubernetesSource, settings: KubernetesSettings, instance: str) -> bool | None:
    """Whether the pod of this replica is there. Not known while we are in no pod ourselves that the source knows.

    A replica is named after its pod, with something added that makes each process another one.
    """
    pods = [Ref("Pod", settings.namespace, each.rpartition("_")[0]) for each in (settings.instance, instance)]
    return source.get(pods[1]) is not None if source.get(pods[0]) is not None else None


def _uid(source: KubernetesSource, pod: PodId) -> str | None:
    """The uid of the pod of this name that the source knows."""
    found = source.get(Ref("Pod", pod.namespace, pod.name))
    return found.metadata.uid if isinstance(found, Pod) else None
