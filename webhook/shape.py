"""A pod as the injector reads it: the fields that decide what is added and what is rewritten.

Rule: reading is typed and happens once; writing happens on the raw document, so fields unknown here survive.
Names and meanings: the Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kube.objects import ContainerPort, Meta, Part, RawDocument


class HttpGet(Part, frozen=True):
    """core/v1 HTTPGetAction."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"


class TcpSocket(Part, frozen=True):
    """core/v1 TCPSocketAction."""

    port: int | str
    host: str = ""


class Grpc(Part, frozen=True):
    """core/v1 GRPCAction; it has no host of its own."""

    port: int
    service: str = ""

    @property
    def host(self) -> str:
        """Empty: the pod's address."""
        return ""


class Handler(Part, frozen=True):
    """What a probe or a lifecycle hook does: at most one field is set. `exec` and `sleep` are not our concern."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    timeout_seconds: int = 1


class Lifecycle(Part, frozen=True):
    """core/v1 Lifecycle."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class SecurityContext(Part, frozen=True):
    """core/v1 SecurityContext, or PodSecurityContext: both have this field."""

    run_as_user: int | None = None


class Container(Part, frozen=True):
    """core/v1 Container. `restart_policy` is `Always` for a native sidecar among the init containers."""

    name: str
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Handler | None = None
    liveness_probe: Handler | None = None
    startup_probe: Handler | None = None
    lifecycle: Lifecycle = Lifecycle()
    security_context: SecurityContext = SecurityContext()
    restart_policy: str = ""

    @property
    def is_sidecar(self) -> bool:
        """Whether this init container stays beside the others (KEP-753)."""
        return self.restart_policy == "Always"


class Volume(Part, frozen=True):
    """core/v1 Volume."""

    name: str


class OperatingSystem(Part, frozen=True):
    """core/v1 PodOS."""

    name: str = "linux"


class PodResources(Part, frozen=True):
    """core/v1 ResourceRequirements of a whole pod (KEP-2837): a budget that its containers share."""

    requests: dict[str, Any] = msgspec.field(default_factory=dict)
    limits: dict[str, Any] = msgspec.field(default_factory=dict)


class PodMeta(Meta, frozen=True):
    """`metadata` of a pod that may not have its name yet."""

    generate_name: str = ""


class PodSpec(Part, frozen=True):
    """core/v1 PodSpec."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    host_network: bool = False
    restart_policy: str = "Always"
    security_context: SecurityContext = SecurityContext()
    os: OperatingSystem = OperatingSystem()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    resources: PodResources = PodResources()
    termination_grace_period_seconds: int = 30


class PodShape(Part, frozen=True):
    """A pod, or a pod template."""

    spec: PodSpec
    metadata: PodMeta = PodMeta()

    @property
    def everyone(self) -> tuple[Container, ...]:
        """All containers, init containers first."""
        return (*self.spec.init_containers, *self.spec.containers)

    @property
    def lasting(self) -> tuple[Container, ...]:
        """The containers that stay while the pod runs: native sidecars and those that are no init containers."""
        return (*(container for container in self.spec.init_containers if container.is_sidecar), *self.spec.containers)


def read_shape(pod: RawDocument) -> PodShape:
    """Decode what matters of a pod. Raises msgspec.ValidationError, whose text ends with the field's path."""
    return msgspec.convert(_without_nulls(pod), PodShape)


def copied(document: RawDocument) -> RawDocument:
    """A copy whose parts may be changed one by one: what aliases of YAML made one thing in two places is two."""
    made: RawDocument = _copied(document)
    return made


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _without_nulls(value: Any) -> Any:
    """The same document without null fields: to Kubernetes a null field is an absent one."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
