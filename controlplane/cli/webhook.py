"""`weft webhook`: the process that the API server asks about pods and SMI objects.

Rule: every option can be set by an environment variable, named in its help; none that Kubernetes sets by itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvloop

from controlplane import logs
from controlplane.cli.options import DEFAULT_TRUST_DOMAIN
from controlplane.cli.output import fail
from controlplane.undumped import keep_memory
from controlplane.webhook import PORT, NativeSidecars, Webhook, WebhookSettings
from kube.client import ClientSettings, ConfigurationError
from kube.problem import Ref
from mesh.settings import MeshSettings
from proxy import ports
from proxy.redirect import RedirectSettings
from webhook import annotations as names
from webhook.annotations import pod_wishes
from webhook.certificates import CertificateFiles
from webhook.settings import InjectorSettings

DEFAULTS: Final = InjectorSettings()
FOLDER: Final = Path("/var/run/weft/tls")


class Redirect(StrEnum):
    """Who writes the redirect rules: an init container with NET_ADMIN and NET_RAW, or a CNI plugin of the cluster."""

    INIT = "init"
    CNI = "cni"


class PullPolicy(StrEnum):
    """core/v1 PullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


def _option(name: str, what: str, *, env: str | None = None) -> Any:
    """An option that can be set by its environment variable as well."""
    variable = env or "WEFT_" + name.partition("/")[0].strip("-").replace("-", "_").upper()
    return typer.Option(name, help=what, envvar=variable, show_envvar=True)


Chain = Annotated[Path, _option("--tls-cert", "The serving certificate and what it chains to, PEM.")]
Key = Annotated[Path, _option("--tls-key", "Its key, PEM. Both files are read again when they change.")]
Address = Annotated[str, _option("--address", "Where to listen; empty: everywhere.", env="WEFT_LISTEN_ADDRESS")]
# Kubernetes sets WEFT_PORT in every pod beside a Service named weft, to a URL.
Port = Annotated[int, _option("--port", "Where to listen.", env="WEFT_LISTEN_PORT")]
Leaving = Annotated[float, _option("--leaving-seconds", "How long it still answers when it is told to end.")]
Kubeconfig = Annotated[Path | None, _option("--kubeconfig", "How to reach the API server; else as the pod's account.")]
Context = Annotated[str | None, _option("--context", "A context in the kubeconfig.")]
Namespace = Annotated[str, _option("--namespace", "Where Weft runs; no pod there is injected.", env="POD_NAMESPACE")]
ControlPlane = Annotated[str, _option("--control-plane", "HOST:PORT for sidecars; else Service weft in --namespace.")]
RootConfigMap = Annotated[str, _option("--root-config-map", "What tells sidecars whom to trust, in each namespace.")]
Audience = Annotated[str, _option("--token-audience", "Who sidecars' tokens are for.")]
ProxyImage = Annotated[str, _option("--proxy-image", "The sidecar's Envoy.")]
ShellImage = Annotated[str, _option("--proxy-shell-image", "An Envoy with bash, where sidecars are not native.")]
RedirectImage = Annotated[str, _option("--redirect-image", "What writes redirect rules.")]
Pull = Annotated[PullPolicy | None, _option("--image-pull-policy", "Of these images; else Kubernetes' default.")]
Native = Annotated[NativeSidecars, _option("--native-sidecars", "auto: where the API server is 1.29 or newer.")]
RedirectBy = Annotated[Redirect, _option("--redirect", "Who writes redirect rules: an init container or a CNI plugin.")]
OtherMeshes = Annotated[bool, _option("--other-meshes/--no-other-meshes", "Whether other meshes' marks enrol pods.")]
SpiffeDriver = Annotated[str, _option("--spiffe-driver", "A CSI driver with a SPIFFE Workload API, for sidecars.")]
SpiffeSocket = Annotated[str, _option("--spiffe-socket", "Where its socket is in sidecars.")]
Ipv6 = Annotated[bool, _option("--ipv6/--no-ipv6", "Whether pods' IPv6 is redirected too.")]
ProxyLogLevel = Annotated[str | None, _option("--proxy-log-level", "Sidecars' log level.")]
Concurrency = Annotated[str | None, _option("--proxy-concurrency", "Sidecars' worker threads.")]
CpuRequest = Annotated[str | None, _option("--proxy-cpu-request", "Sidecars' CPU request.")]
CpuLimit = Annotated[str | None, _option("--proxy-cpu-limit", "Sidecars' CPU limit.")]
MemoryRequest = Annotated[str | None, _option("--proxy-memory-request", "Sidecars' memory request.")]
MemoryLimit = Annotated[str | None, _option("--proxy-memory-limit", "Sidecars' memory limit.")]
InboundPorts = Annotated[str | None, _option("--exclude-inbound-ports", "Ports that are reached around all sidecars.")]
OutboundPorts = Annotated[str | None, _option("--exclude-outbound-ports", "Ports that apps reach around sidecars.")]
InboundCidrs = Annotated[str | None, _option("--exclude-inbound-cidrs", "Callers that reach apps around sidecars.")]
OutboundCidrs = Annotated[str | None, _option("--exclude-outbound-cidrs", "Networks that apps reach around sidecars.")]
Mark = Annotated[int | None, _option("--proxy-mark", "Where there is one user: exempts sidecars by this socket mark.")]
TrustDomain = Annotated[str, _option("--trust-domain", "What SPIFFE IDs begin with, as for the control plane.")]
Bindings = Annotated[
    bool, _option("--identity-bindings/--no-identity-bindings", "Whether IdentityBindings are read, as there.")
]
LogLevel = Annotated[str, _option("--log-level", "debug, info, warning or error.")]


def webhook(
    tls_cert: Chain = FOLDER / "tls.crt",
    tls_key: Key = FOLDER / "tls.key",
    address: Address = "",
    port: Port = PORT,
    leaving_seconds: Leaving = 5.0,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = DEFAULTS.own_namespace,
    control_plane: ControlPlane = "",
    root_config_map: RootConfigMap = DEFAULTS.ca_config_map,
    token_audience: Audience = DEFAULTS.token_audience,
    proxy_image: ProxyImage = DEFAULTS.proxy_image,
    proxy_shell_image: ShellImage = DEFAULTS.shell_image,
    redirect_image: RedirectImage = DEFAULTS.redirect_image,
    image_pull_policy: Pull = None,
    native_sidecars: Native = NativeSidecars.AUTO,
    redirect: RedirectBy = Redirect.INIT,
    other_meshes: OtherMeshes = False,
    spiffe_driver: SpiffeDriver = "",
    spiffe_socket: SpiffeSocket = "/run/spiffe/spire-agent.sock",
    ipv6: Ipv6 = True,
    proxy_log_level: ProxyLogLevel = None,
    proxy_concurrency: Concurrency = None,
    proxy_cpu_request: CpuRequest = None,
    proxy_cpu_limit: CpuLimit = None,
    proxy_memory_request: MemoryRequest = None,
    proxy_memory_limit: MemoryLimit = None,
    exclude_inbound_ports: InboundPorts = None,
    exclude_outbound_ports: OutboundPorts = None,
    exclude_inbound_cidrs: InboundCidrs = None,
    exclude_outbound_cidrs: OutboundCidrs = None,
    proxy_mark: Mark = None,
    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN,
    identity_bindings: Bindings = False,
    log_level: LogLevel = "info",
) -> None:
    """Answer the API server: sidecars into pods, SMI objects checked and converted. SIGTERM ends it in steps."""
    logs.configure(log_level)
    injector = replace(
        DEFAULTS,
        own_namespace=namespace,
        ca_config_map=root_config_map,
        token_audience=token_audience,
        proxy_image=proxy_image,
        shell_image=proxy_shell_image,
        redirect_image=redirect_image,
        image_pull_policy=image_pull_policy,
        redirect_by_init=redirect is Redirect.INIT,
        other_meshes=other_meshes,
        spiffe_driver=spiffe_driver,
        bootstrap=replace(DEFAULTS.bootstrap, spiffe_socket=spiffe_socket if spiffe_driver else ""),
        redirect=RedirectSettings(ipv6=ipv6, mark=proxy_mark),
    )
    injector = with_control_plane(injector, control_plane or f"weft.{namespace}.svc:{ports.XDS}")
    wishes = {
        names.LOG_LEVEL: proxy_log_level,
        names.CONCURRENCY: proxy_concurrency,
        names.CPU_REQUEST: proxy_cpu_request,
        names.CPU_LIMIT: proxy_cpu_limit,
        names.MEMORY_REQUEST: proxy_memory_request,
        names.MEMORY_LIMIT: proxy_memory_limit,
        names.EXCLUDE_INBOUND_PORTS: exclude_inbound_ports,
        names.EXCLUDE_OUTBOUND_PORTS: exclude_outbound_ports,
        names.EXCLUDE_INBOUND_CIDRS: exclude_inbound_cidrs,
        names.EXCLUDE_OUTBOUND_CIDRS: exclude_outbound_cidrs,
    }
    settings = WebhookSettings(
        files=CertificateFiles(tls_cert, tls_key),
        injector=with_defaults(injector, {name: text for name, text in wishes.items() if text}),
        mesh=MeshSettings(trust_domain=trust_domain, identity_bindings=identity_bindings),
        native_sidecars=native_sidecars,
        address=address,
        port=port,
        leaving_seconds=leaving_seconds,
        kubernetes=ClientSettings(kubeconfig=kubeconfig, context=context),
    )
    try:
        keep_memory()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except ExceptionGroup as group:
        if group.split((ConfigurationError, OSError))[1] is not None:
            raise
        fail(str(group.exceptions[0]), 1)


def with_control_plane(injector: InjectorSettings, where: str) -> InjectorSettings:
    """The same injector with sidecars that connect to this HOST:PORT."""
    host, _, port = where.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        fail(f"--control-plane must be HOST:PORT, not {where!r}")
    bootstrap = replace(injector.bootstrap, control_plane_host=host, control_plane_port=int(port))
    return replace(injector, bootstrap=bootstrap)


def with_defaults(injector: InjectorSettings, wishes: Mapping[str, str]) -> InjectorSettings:
    """The same injector with what pods' annotations could say, said for all pods; annotations go before it."""
    asked, problems = pod_wishes(wishes, Ref("", "", ""))
    for problem in problems:
        option = problem.field.partition("/")[2].rstrip("]")
        fail(f"--{option} {problem.message.partition(';')[0]}")
    bootstrap = replace(
        injector.bootstrap,
        log_level=asked.log_level or injector.bootstrap.log_level,
        concurrency=asked.concurrency or injector.bootstrap.concurrency,
    )
    redirect = replace(
        injector.redirect,
        exclude_inbound_ports=asked.exclude_inbound_ports,
        exclude_outbound_ports=asked.exclude_outbound_ports,
        exclude_inbound_cidrs=asked.exclude_inbound_cidrs,
        exclude_outbound_cidrs=asked.exclude_outbound_cidrs,
    )
    return replace(
        injector,
        bootstrap=bootstrap,
        redirect=redirect,
        requests=tuple((dict(injector.requests) | dict(asked.requests)).items()),
        limits=tuple((dict(injector.limits) | dict(asked.limits)).items()),
    )


async def serve(settings: WebhookSettings) -> None:
    """Run a webhook until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Webhook(settings).run(stop)
