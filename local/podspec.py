"""A pod as the kubelet reads it: the fields of core/v1 PodSpec that decide what runs here.

Rule: what is not a field here has no effect on this machine. Names and meanings: the Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kube.objects import ContainerPort, Meta, Part, RawDocument

APP_UID = 65534
"""Who runs a container that does not say `runAsUser`: nobody, never the proxy."""


class KeyRef(Part, frozen=True):
    """One key of a ConfigMap or a Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class NameRef(Part, frozen=True):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class FieldRef(Part, frozen=True):
    """A field of the pod itself, such as `metadata.name`."""

    field_path: str


class EnvSource(Part, frozen=True):
    """Where the value of a variable comes from."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvVar(Part, frozen=True):
    """One environment variable."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class EnvFrom(Part, frozen=True):
    """All keys of a ConfigMap or a Secret as variables."""

    prefix: str = ""
    config_map_ref: NameRef | None = None
    secret_ref: NameRef | None = None


class Header(Part, frozen=True):
    """A header of an HTTP probe."""

    name: str
    value: str = ""


class HttpGet(Part, frozen=True):
    """Ask by HTTP; 200 to 399 is a yes."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[Header, ...] = ()


class TcpSocket(Part, frozen=True):
    """Ask by connecting."""

    port: int | str
    host: str = ""


class Exec(Part, frozen=True):
    """Ask by running a command in the container; exit code 0 is a yes."""

    command: tuple[str, ...] = ()


class Sleep(Part, frozen=True):
    """Wait for so many seconds."""

    seconds: int


class Probe(Part, frozen=True):
    """A question the kubelet repeats. Times are seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Handler(Part, frozen=True):
    """What a lifecycle hook does."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    sleep: Sleep | None = None


class Lifecycle(Part, frozen=True):
    """Hooks of a container."""

    pre_stop: Handler | None = None


class Capabilities(Part, frozen=True):
    """Linux capabilities, as Kubernetes writes them (`NET_ADMIN`)."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(Part, frozen=True):
    """Who a container runs as. A pod's own uses the first two fields only."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    capabilities: Capabilities = Capabilities()


class VolumeMount(Part, frozen=True):
    """Where a container sees a volume."""

    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class Container(Part, frozen=True):
    """One container. `restart_policy` is `Always` for a native sidecar among the init containers, else empty."""

    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    security_context: SecurityContext = SecurityContext()
    restart_policy: str = ""

    @property
    def is_sidecar(self) -> bool:
        """Whether this init container stays beside the others (KEP-753)."""
        return self.restart_policy == "Always"


class KeyToPath(Part, frozen=True):
    """A key, and the file it becomes."""

    key: str
    path: str


class TokenSource(Part, frozen=True):
    """A ServiceAccount token in a file. `expiration_seconds` is its lifetime."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class ConfigMapSource(Part, frozen=True):
    """Files from a ConfigMap."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class SecretSource(Part, frozen=True):
    """Files from a Secret; a volume says `secretName` where a projection says `name`."""

    name: str = ""
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class DownwardItem(Part, frozen=True):
    """A field of the pod, and the file it becomes."""

    path: str
    field_ref: FieldRef | None = None


class DownwardSource(Part, frozen=True):
    """Files from the pod's own fields."""

    items: tuple[DownwardItem, ...] = ()


class Projection(Part, frozen=True):
    """One source of a projected volume; exactly one field is set."""

    service_account_token: TokenSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(default=None, name="downwardAPI")


class Projected(Part, frozen=True):
    """Several sources in one folder."""

    sources: tuple[Projection, ...] = ()


class Volume(Projection, frozen=True):
    """A volume of a pod; exactly one field beside the name is set."""

    name: str = ""
    empty_dir: dict[str, Any] | None = None
    projected: Projected | None = None
    host_path: dict[str, Any] | None = None

    @property
    def projections(self) -> tuple[Projection, ...]:
        """What its files come from, as if it were a projected volume."""
        return self.projected.sources if self.projected else (self,)

    @property
    def tokens(self) -> list[TokenSource]:
        """The tokens in it."""
        return [each.service_account_token for each in self.projections if each.service_account_token is not None]


class PodSpec(Part, frozen=True):
    """core/v1 PodSpec as far as it decides what runs here."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    service_account_name: str = "default"
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    security_context: SecurityContext = SecurityContext()
    hostname: str = ""
    subdomain: str = ""

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """The init containers that stay."""
        return tuple(container for container in self.init_containers if container.is_sidecar)

    @property
    def lasting(self) -> tuple[Container, ...]:
        """Every container that runs while the pod does, sidecars first."""
        return (*self.sidecars, *self.containers)

    def user(self, container: Container) -> int:
        """The UID a container asks for, its own before the pod's, `APP_UID` when neither says."""
        own, pod = container.security_context.run_as_user, self.security_context.run_as_user
        return next((uid for uid in (own, pod) if uid is not None), APP_UID)

    def group(self, container: Container) -> int:
        """The GID a container asks for, else the same number as its UID."""
        own, pod = container.security_context.run_as_group, self.security_context.run_as_group
        return next((gid for gid in (own, pod) if gid is not None), self.user(container))


class PodDocument(Part, frozen=True):
    """A pod: the injector's output, read."""

    spec: PodSpec
    metadata: Meta = Meta()


def read_pod(document: RawDocument) -> PodDocument:
    """Decode a pod. Raises msgspec.ValidationError, whose text ends with the field's path."""
    return msgspec.convert(without_nulls(document), PodDocument)


def without_nulls(value: Any) -> Any:
    """The same document without null fields: to Kubernetes a null field is an absent one."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
