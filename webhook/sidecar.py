"""What is added to a pod: two containers and a volume, as Kubernetes documents.

Rule: the sidecar satisfies the restricted Pod Security Standard; only the container that writes the redirect rules,
gone before the app starts, holds NET_ADMIN and NET_RAW.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final

from kube.objects import RawDocument
from proxy import ports, redirect
from proxy.bootstrap import IDENTITY_FOLDER, BootstrapSettings, arguments
from proxy.redirect import RedirectSettings
from webhook.annotations import PodWishes, quantity
from webhook.settings import InjectorSettings
from webhook.shape import PodShape

PROXY: Final = "weft-proxy"
REDIRECT: Final = "weft-redirect"
IDENTITY_VOLUME: Final = "weft-identity"
SPIFFE_VOLUME: Final = "weft-spiffe"

_HEAP_SHARE: Final = 0.8
"""How much of the memory limit is heap; the rest is code, stacks and the kernel's socket buffers."""


def redirect_settings(settings: InjectorSettings, wishes: PodWishes) -> RedirectSettings:
    """The mesh's exclusions and the pod's together."""
    mesh = settings.redirect
    return replace(
        mesh,
        exclude_inbound_ports=(*mesh.exclude_inbound_ports, *wishes.exclude_inbound_ports),
        exclude_outbound_ports=(*mesh.exclude_outbound_ports, *wishes.exclude_outbound_ports),
        exclude_inbound_cidrs=(*mesh.exclude_inbound_cidrs, *wishes.exclude_inbound_cidrs),
        exclude_outbound_cidrs=(*mesh.exclude_outbound_cidrs, *wishes.exclude_outbound_cidrs),
    )


def redirect_container(
    settings: InjectorSettings, redirection: RedirectSettings, wishes: PodWishes, shape: PodShape
) -> RawDocument:
    """The init container that writes the redirect rules and ends."""
    command, args = redirect.command(redirection)
    return {
        "name": REDIRECT,
        "image": settings.redirect_image,
        **_pull_policy(settings),
        "command": command,
        "args": args,
        **_resources(settings, wishes, shape),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def proxy_container(
    settings: InjectorSettings, wishes: PodWishes, bootstrap: BootstrapSettings, shape: PodShape
) -> RawDocument:
    """The sidecar. Native, it is an init container that stays; else a container that holds those after it."""
    limits = _limits(settings, wishes, shape)
    bootstrap = replace(
        bootstrap,
        mark=settings.redirect.mark,
        log_level=wishes.log_level or bootstrap.log_level,
        concurrency=wishes.concurrency or bootstrap.concurrency,
        heap_bytes=int(quantity(limits["memory"]) * _HEAP_SHARE) if "memory" in limits else bootstrap.heap_bytes,
    )
    return {
        "name": PROXY,
        "image": settings.proxy_image if settings.native_sidecar else settings.shell_image,
        **_pull_policy(settings),
        "command": ["envoy"],
        "args": arguments(bootstrap),
        **({"restartPolicy": "Always"} if settings.native_sidecar else {"lifecycle": _holding(shape)}),
        "env": [*(_from_field(name, path) for name, path in _ENVIRONMENT.items()), _described(bootstrap)],
        "ports": [{"name": "weft-metrics", "containerPort": ports.METRICS, "protocol": "TCP"}],
        # The app waits until the control plane has told this proxy everything: ten minutes, then it starts anew.
        "startupProbe": _asked_ready(periodSeconds=1, failureThreshold=600),
        "readinessProbe": _asked_ready(periodSeconds=5, failureThreshold=3),
        **_resources(settings, wishes, shape),
        "securityContext": _restricted(settings),
        "volumeMounts": [{"name": IDENTITY_VOLUME, "mountPath": IDENTITY_FOLDER, "readOnly": True}, *_spiffe(settings)],
    }


def identity_volume(settings: InjectorSettings) -> RawDocument:
    """What proves to the control plane who the pod is, and to the pod who the control plane is."""
    token = {"audience": settings.token_audience, "expirationSeconds": settings.token_seconds, "path": "token"}
    bundle = {"name": settings.ca_config_map, "items": [{"key": settings.ca_key, "path": "ca/bundle.pem"}]}
    return {"name": IDENTITY_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}, {"configMap": bundle}]}}


def volumes(settings: InjectorSettings) -> list[RawDocument]:
    """What sidecars mount."""
    spiffe = {"name": SPIFFE_VOLUME, "csi": {"driver": settings.spiffe_driver, "readOnly": True}}
    return [identity_volume(settings), *([spiffe] if settings.spiffe_driver else [])]


def _spiffe(settings: InjectorSettings) -> list[RawDocument]:
    """The folder of the Workload API's socket, where there is one (spiffe-csi: an ephemeral volume, read only)."""
    if not settings.spiffe_driver:
        return []
    folder = str(PurePosixPath(settings.bootstrap.spiffe_socket).parent)
    return [{"name": SPIFFE_VOLUME, "mountPath": folder, "readOnly": True}]


def _resources(settings: InjectorSettings, wishes: PodWishes, shape: PodShape) -> RawDocument:
    """The field `resources` of both containers: the same, so that the pod's quality of service is the sidecar's choice.

    The container for redirection has ended when the sidecar starts, so it costs nothing more (Kubernetes documentation,
    "Resource sharing within containers"). In a pod with a budget of its own (KEP-2837) only what it asks for is set.
    """
    limits = _limits(settings, wishes, shape)
    requests = _lowered(dict(() if _has_budget(shape) else settings.requests) | dict(wishes.requests), limits)
    found = {name: values for name, values in (("requests", requests), ("limits", limits)) if values}
    return {"resources": found} if found else {}


def _limits(settings: InjectorSettings, wishes: PodWishes, shape: PodShape) -> dict[str, str]:
    return dict(() if _has_budget(shape) else settings.limits) | dict(wishes.limits)


def _has_budget(shape: PodShape) -> bool:
    return bool(shape.spec.resources.requests or shape.spec.resources.limits)


def _pull_policy(settings: InjectorSettings) -> dict[str, str]:
    return {"imagePullPolicy": settings.image_pull_policy} if settings.image_pull_policy else {}


def _restricted(settings: InjectorSettings) -> RawDocument:
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if settings.redirect.mark is not None:
        capabilities["add"] = ["NET_ADMIN"]  # SO_MARK needs it (socket(7))
    return {
        "runAsUser": settings.redirect.proxy_uid,
        "runAsGroup": settings.redirect.proxy_uid,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": capabilities,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _asked_ready(**times: int) -> RawDocument:
    return {"httpGet": {"path": "/healthz/ready", "port": ports.HEALTH}, "timeoutSeconds": 2, **times}


def _lowered(requests: dict[str, str], limits: dict[str, str]) -> dict[str, str]:
    """The requests, none above its limit: Kubernetes would refuse the pod."""
    return {
        name: limits[name] if name in limits and quantity(limits[name]) < quantity(asked) else asked
        for name, asked in requests.items()
    }


def _from_field(name: str, path: str) -> RawDocument:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _described(bootstrap: BootstrapSettings) -> RawDocument:
    """The pod as OpenTelemetry's resource (its resource semantic conventions); traces say by it whose they are."""
    attributes = {
        "service.name": bootstrap.workload.name,
        "service.namespace": "$(POD_NAMESPACE)",
        "k8s.namespace.name": "$(POD_NAMESPACE)",
        "k8s.pod.name": "$(POD_NAME)",
    }
    return {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": ",".join(map("=".join, attributes.items()))}


_ENVIRONMENT: Final = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_IP": "status.podIP",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
}

# Envoy does not speak HTTP/1.0.
_ADMIN: Final = f"""\
ask() {{
  (
    exec 3<>/dev/tcp/127.0.0.1/{ports.ADMIN} || exit 1
    printf '%s %s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' "$1" "$2" >&3
    cat <&3
  ) 2>/dev/null
}}
"""

_HOLD: Final = (
    _ADMIN
    + """\
for attempt in {1..3000}; do
  [[ "$(ask GET /ready)" == *' 200 '* ]] && exit 0
  sleep 0.2
done
exit 1
"""
)

# A while for the endpoint to leave the callers; then until their connections and the app's have ended.
_DRAIN: Final = (
    _ADMIN
    + f"""\
ask POST '/drain_listeners?inboundonly&graceful&skip_exit'
sleep LEAVING
while ask GET '/stats?filter=^listener.*({ports.INBOUND}|{ports.OUTBOUND}|inbound|outbound).*downstream_cx_active$' \\
  | grep -q 'downstream_cx_active: [1-9]'; do sleep 0.5; done
exit 0
"""
)

LEAVING_SECONDS: Final = 5
"""How long callers may take to hear that a pod ends, where its grace period has room for it."""


def _holding(shape: PodShape) -> RawDocument:
    """The hooks of a sidecar that is no native one. The kubelet ends both with the pod's grace period."""
    leaving = min(LEAVING_SECONDS, max(0, shape.spec.termination_grace_period_seconds) // 3)
    return {
        "postStart": {"exec": {"command": ["/bin/bash", "-c", _HOLD]}},
        "preStop": {"exec": {"command": ["/bin/bash", "-c", _DRAIN.replace("LEAVING", str(leaving))]}},
    }
