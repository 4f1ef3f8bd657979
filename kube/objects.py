"""Kubernetes' own objects, frozen, with *only the fields we read*.

Rule: what is not a field here wakes nobody, so status writes, heartbeats and managedFields are dropped by decoding.
Field names and meanings: the Kubernetes API reference (core/v1, apps/v1, discovery.k8s.io/v1).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from kube.problem import Ref


class Part(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A piece of an object, compared by value."""


class OwnerReference(Part, frozen=True):
    """meta/v1 OwnerReference: what made an object, if `controller` says so."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Meta(Part, frozen=True):
    """`metadata`. `creation_timestamp` is RFC 3339 in UTC, so it orders as text; empty for objects from files."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class Object(Part, frozen=True):
    """A decoded Kubernetes thing."""

    metadata: Meta
    kind: str = ""
    api_version: str = ""

    @property
    def namespace(self) -> str:
        """The namespace, empty for cluster-scoped kinds. Sources fill in `default` where a file leaves it out."""
        return self.metadata.namespace

    @property
    def name(self) -> str:
        """The name."""
        return self.metadata.name

    @property
    def ref(self) -> Ref:
        """How Problems name this object."""
        return Ref(self.kind, self.metadata.namespace, self.metadata.name)


class Namespace(Object, frozen=True):
    """core/v1 Namespace: its labels and annotations carry enrolment and modes."""


class ServiceAccount(Object, frozen=True):
    """core/v1 ServiceAccount: an identity (rule A2)."""


class ServicePort(Part, frozen=True):
    """core/v1 ServicePort. `target_port` 0 means the same number as `port`."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    target_port: int | str = 0


class ServiceSpec(Part, frozen=True):
    """core/v1 ServiceSpec. `cluster_ip` is "None" for headless Services."""

    type: str = "ClusterIP"
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_name: str = ""
    publish_not_ready_addresses: bool = False


class Service(Object, frozen=True):
    """core/v1 Service."""

    spec: ServiceSpec = ServiceSpec()


class TargetRef(Part, frozen=True):
    """The object an endpoint stands for."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class EndpointConditions(Part, frozen=True):
    """discovery/v1 EndpointConditions; None means unknown, which is read as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class EndpointEntry(Part, frozen=True):
    """discovery/v1 Endpoint: one backend of a Service."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: TargetRef | None = None
    node_name: str | None = None
    zone: str | None = None


class EndpointPort(Part, frozen=True):
    """discovery/v1 EndpointPort; matches the Service port of the same name."""

    name: str | None = None
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Object, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice; label `kubernetes.io/service-name` names its Service."""

    address_type: str = "IPv4"
    endpoints: tuple[EndpointEntry, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class ContainerPort(Part, frozen=True):
    """core/v1 ContainerPort."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(Part, frozen=True):
    """core/v1 Container as far as the mesh reads it (webhook/inject works on the raw document instead)."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Part, frozen=True):
    """core/v1 PodSpec as far as the mesh reads it."""

    service_account_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    host_network: bool = False


class PodIP(Part, frozen=True):
    """One of a pod's addresses."""

    ip: str


class PodStatus(Part, frozen=True):
    """core/v1 PodStatus as far as the mesh reads it."""

    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    phase: str = ""


class Pod(Object, frozen=True):
    """core/v1 Pod. It is meshed when the injector's annotation says so (`kube.enrolment.INJECTED`)."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplate(Part, frozen=True):
    """core/v1 PodTemplateSpec."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()


class WorkloadSpec(Part, frozen=True):
    """apps/v1 DeploymentSpec or StatefulSetSpec."""

    template: PodTemplate = PodTemplate()
    replicas: int = 1
    service_name: str = ""


class Deployment(Object, frozen=True):
    """apps/v1 Deployment: read for what its pods would be while none runs."""

    spec: WorkloadSpec = WorkloadSpec()


class StatefulSet(Object, frozen=True):
    """apps/v1 StatefulSet."""

    spec: WorkloadSpec = WorkloadSpec()


RawDocument = dict[str, Any]
"""An object as YAML or JSON says it, before anything is read from it."""
