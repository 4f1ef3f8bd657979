"""`weft run`: the control plane alone, reading manifests from folders or objects from an API server."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import secrets
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from ca.providers.settings import ProviderFile, ProviderSettingsError, read_settings
from ca.sealing import SealSettings
from ca.settling import DEFAULT_LIFETIMES, Lifetimes
from ca.storage import StorageError
from controlplane import logs
from controlplane.app import control_plane
from controlplane.bundle_endpoint import NOTICE
from controlplane.cli import observing, options
from controlplane.cli.durations import IntermediateLifetime, LeafLifetime, RootLifetime
from controlplane.cli.output import fail
from controlplane.settings import ControlPlaneSettings, KubernetesSettings, PlaneSettings, WebhookCertificate
from controlplane.undumped import keep_memory
from kube.settings import ClientSettings, ConfigurationError
from mesh.settings import Access, AccessLog, Egress, MeshSettings, Mtls
from proxy import ports
from xds.server import TransportKind

DEFAULT_CA_FOLDER = Path("weft-ca")
DEFAULT_NAMESPACE = "weft-system"
DRAIN = timedelta(seconds=3)
"""In a cluster: longer than kube-proxy takes to lead newcomers to another replica, mostly."""


def run(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders of Kubernetes manifests.", exists=True)
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Read objects from a Kubernetes API server instead of PATHS.")
    ] = False,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    ca_folder: Annotated[
        Path, typer.Option("--ca", help="Where keys are kept; made when missing.")
    ] = DEFAULT_CA_FOLDER,
    overlay: Annotated[Path | None, typer.Option(help="A folder whose objects win over those in PATHS.")] = None,
    xds_port: Annotated[int, typer.Option(help="Where sidecars connect.")] = ports.XDS,
    xds_transport: Annotated[
        TransportKind, typer.Option(help="What carries sidecars' streams; they see no difference.")
    ] = TransportKind.OWN,
    admin_address: Annotated[str, typer.Option(help="The address of the admin API.")] = "127.0.0.1",
    admin_port: Annotated[int, typer.Option(help="The port of the admin API.")] = ports.CONTROL_PLANE_ADMIN,
    admin_tls_port: Annotated[
        int | None, typer.Option(help="With --kubernetes: the admin API over TLS, for those who show a token.")
    ] = None,
    admin_socket: Annotated[Path | None, typer.Option(help="The admin API on a Unix socket too.")] = None,
    trust_domain: options.TrustDomain = options.DEFAULT_TRUST_DOMAIN,
    trust_domain_alias: options.TrustDomainAlias = None,
    federation: options.Federation = None,
    bundle_port: options.BundlePort = None,
    ca_key_passphrase_file: Annotated[
        Path | None, typer.Option(help="A file whose first line encrypts Weft's own CA keys where they are kept.")
    ] = None,
    ca_key_command: Annotated[
        str, typer.Option(help="A command that does it instead: `COMMAND encrypt` and `COMMAND decrypt`.")
    ] = "",
    ca_provider: Annotated[
        Path | None,
        typer.Option(
            help="A file that says who signs workloads' certificates; else Weft does.", envvar="WEFT_CA_PROVIDER"
        ),
    ] = None,
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    egress: options.EgressMode = Egress.ALLOWED,
    access_log: options.AccessLogMode = AccessLog.OFF,
    prometheus_url: Annotated[
        str, typer.Option(help="A Prometheus that scrapes the sidecars, to tell of traffic; else they are asked.")
    ] = "",
    identity_bindings: options.IdentityBindings = False,
    tap: options.Tap = True,
    trace_collector: observing.TraceCollector = "",
    trace_sampling: observing.TraceSampling = observing.DEFAULT_SAMPLING,
    log_collector: observing.LogCollector = "",
    webhook_certificate: Annotated[
        WebhookCertificate, typer.Option(help="Who makes the webhook's certificate and sets the caBundles.")
    ] = WebhookCertificate.WEFT,
    metrics_api_port: Annotated[
        int | None, typer.Option(help="With --kubernetes: serve the SMI metrics API there, for Service weft.")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(help="With --kubernetes: how long streams are still served when it is told to end.")
    ] = DRAIN.total_seconds(),
    leaf_lifetime: LeafLifetime = DEFAULT_LIFETIMES.leaf,
    intermediate_lifetime: IntermediateLifetime = DEFAULT_LIFETIMES.intermediate,
    root_lifetime: RootLifetime = DEFAULT_LIFETIMES.root,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the control plane alone: objects from PATHS or an API server, kept up to date as they change."""
    logs.configure(log_level)
    if kubernetes == bool(paths) or (not kubernetes and (kubeconfig or context)) or (kubernetes and overlay):
        fail("Name either PATHS (and --overlay), or --kubernetes (and --kubeconfig, --context).", 2)
    if ca_provider is not None and (federation is not None or bundle_port is not None):
        fail("--federation and --bundle-port are for Weft's own authority; they can't be had with --ca-provider.", 2)
    common = PlaneSettings(
        xds_port=xds_port, xds_transport=xds_transport,
        admin_address=admin_address, admin_port=admin_port, admin_socket=admin_socket, tap=tap,
        traces=observing.traces(trace_collector, trace_sampling), log_collector=observing.logs(log_collector),
        mesh=MeshSettings(
            trust_domain=trust_domain, access=access, mtls=mtls, egress=egress, access_log=access_log,
            identity_bindings=identity_bindings,
        ),
        prometheus_url=prometheus_url,
        trust_domain_aliases=tuple(trust_domain_alias or ()), federation=federation, bundle_port=bundle_port,
        ca_provider=_provider(ca_provider),
        ca_key=SealSettings(passphrase_file=ca_key_passphrase_file, command=ca_key_command),
        lifetimes=Lifetimes(
            root=root_lifetime, intermediate=intermediate_lifetime, leaf=leaf_lifetime,
            notice=NOTICE if bundle_port is not None else timedelta(0),
        ),
    )  # fmt: skip
    if kubernetes:
        serving = _serve_cluster(
            KubernetesSettings(
                **_in_cluster(common, timedelta(seconds=drain_seconds)),
                client=ClientSettings(kubeconfig, context),
                webhook_certificate=webhook_certificate,
                metrics_port=metrics_api_port,
                admin_tls_port=admin_tls_port,
            )
        )
    else:
        serving = serve(
            ControlPlaneSettings(**_fields(common), paths=tuple(paths or ()), ca_folder=ca_folder, overlay=overlay)
        )
    allow_connections()
    try:
        keep_memory()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
    except (StorageError, OSError, ConfigurationError, ProviderSettingsError) as error:
        fail(str(error), 1)


def _provider(file: Path | None) -> ProviderFile | None:
    try:
        return read_settings(file) if file is not None else None
    except ProviderSettingsError as error:
        fail(str(error), 2)


def allow_connections() -> None:
    """As many open files as this process may have: each sidecar takes one, and the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(settings: ControlPlaneSettings) -> None:
    """Run a control plane that reads folders until SIGINT or SIGTERM."""
    await control_plane(settings).run(_until_signal())


async def _serve_cluster(settings: KubernetesSettings) -> None:
    # Importing the official client takes half a second, which only those pay who need it.
    from controlplane import kubernetes  # noqa: PLC0415
    from kube.client import Client  # noqa: PLC0415

    client = await Client.open(settings.client)
    try:
        plane = await kubernetes.control_plane(settings, client)
        await plane.run(_until_signal())
    finally:
        await client.close()


def _until_signal() -> asyncio.Event:
    """Set when the process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _in_cluster(settings: PlaneSettings, drain: timedelta) -> dict[str, Any]:
    """What the pod says of itself; its name is made unique, for a new process in it is another replica."""
    namespace = os.environ.get("POD_NAMESPACE") or DEFAULT_NAMESPACE
    name = os.environ.get("POD_NAME") or socket.gethostname()
    service = f"weft.{namespace}.svc"
    return {
        **_fields(settings),
        "namespace": namespace,
        "instance": f"{name}_{secrets.token_hex(4)}",
        "drain": drain,
        "server_names": (service, f"{service}.cluster.local", "localhost"),
    }


def _fields(settings: PlaneSettings) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
