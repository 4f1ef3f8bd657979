"""Objects for tests of the mesh, in as few words as possible. Everything is in namespace `shop` unless said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from kube.enrolment import INJECT, INJECTED
from kube.objects import (
    Container,
    ContainerPort,
    Deployment,
    EndpointConditions,
    EndpointEntry,
    EndpointPort,
    EndpointSlice,
    Meta,
    Namespace,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplate,
    Service,
    ServicePort,
    ServiceSpec,
    TargetRef,
    WorkloadSpec,
)
from kube.problem import Origin, Problem, Ref
from mesh.build import Builder
from mesh.model import Identity, InboundPort, Mesh, PodId, PortId, ServiceId, Workload
from mesh.settings import MeshSettings
from smi.kinds import (
    HeaderMatch,
    HttpMatch,
    HTTPRouteGroup,
    RuleRef,
    SplitBackend,
    Subject,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    UDPRoute,
)
from smi.resources import Anything, Resources

SHOP = "shop"


def build(
    *objects: Anything | Sequence[Anything], settings: MeshSettings | None = None, invalid: Iterable[Ref] = ()
) -> Mesh:
    """The mesh these objects mean."""
    return Builder(settings or MeshSettings()).build(resources(*objects, invalid=invalid))


def resources(*objects: Anything | Sequence[Anything], invalid: Iterable[Ref] = ()) -> Resources:
    flat = [item for given in objects for item in (given if isinstance(given, Sequence) else [given])]
    return Resources({item.ref: item for item in flat}, invalid=frozenset(invalid))


def namespace(name: str = SHOP, labels: Mapping[str, str] | None = None, **annotations: str) -> Namespace:
    """Annotations are given as words: `access="permissive"` means `weft.dev/access`."""
    return Namespace(Meta(name=name, labels=dict(labels or {}), annotations=weft(annotations)), "Namespace", "v1")


def enrolled_namespace(name: str = SHOP) -> Namespace:
    return namespace(name, {INJECT: "enabled"})


def weft(annotations: Mapping[str, str]) -> dict[str, str]:
    return {f"weft.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}


def port(number: int = 80, name: str = "http", target: int | str = 8080, app: str | None = None) -> ServicePort:
    return ServicePort(port=number, name=name, target_port=target, app_protocol=app)


def service(
    name: str, *ports: ServicePort, space: str = SHOP, ip: str | None = None, selector: Mapping[str, str] | None = None
) -> Service:
    """Selects `app: <name>`, has port 80 to 8080, HTTP, and an address of its own, unless told otherwise."""
    chosen = {"app": name} if selector is None else dict(selector)
    number = crc32(f"{space}/{name}".encode())
    address = f"10.97.{number >> 8 & 255}.{number & 255}" if ip is None else ip
    spec = ServiceSpec(selector=chosen, ports=ports or (port(),), cluster_ip=address)
    return Service(Meta(name=name, namespace=space), "Service", "v1", spec)


def external(name: str) -> Service:
    spec = ServiceSpec(type="ExternalName", external_name="example.com", ports=(port(),))
    return Service(Meta(name=name, namespace=SHOP), "Service", "v1", spec)


def pod(
    name: str,
    *ports: ContainerPort,
    space: str = SHOP,
    app: str | None = None,
    account: str | None = None,
    ip: str = "10.0.0.1",
    meshed: bool = True,
    **annotations: str,
) -> Pod:
    """`app` and `account` are the part of the name before the last dash unless told otherwise."""
    stem = name.rpartition("-")[0] or name
    marks = weft(annotations) | ({INJECTED: "true"} if meshed else {})
    meta = Meta(name=name, namespace=space, labels={"app": app or stem}, annotations=marks)
    spec = PodSpec(account or stem, (Container("app", ports),))
    return Pod(meta, "Pod", "v1", spec, PodStatus(pod_ip=ip, phase="Running"))


def entry(
    pod: str = "",
    ip: str = "10.0.0.1",
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    space: str = "",
) -> EndpointEntry:
    target = TargetRef("Pod", space, pod) if pod else None
    return EndpointEntry((ip,), EndpointConditions(ready, serving, terminating), target_ref=target)


def slice_of(
    service: str, *entries: EndpointEntry, name: str = "", port: str = "http", number: int = 8080, space: str = SHOP
) -> EndpointSlice:
    meta = Meta(name=name or f"{service}-1", namespace=space, labels={"kubernetes.io/service-name": service})
    ports = (EndpointPort(port, number),)
    return EndpointSlice(meta, "EndpointSlice", "discovery.k8s.io/v1", endpoints=entries, ports=ports)


def app(name: str, ip: str = "10.0.0.1", *, meshed: bool = True, protocol: str = "http") -> list[Anything]:
    """A Service with one pod: port 80 to 8080 under ServiceAccount `name`, meshed and ready unless told otherwise."""
    return [
        service(name, port(name=protocol), ip=f"10.96.0.{ip.rpartition('.')[2]}"),
        pod(f"{name}-1", ip=ip, meshed=meshed),
        slice_of(name, entry(f"{name}-1", ip), port=protocol),
    ]


def deployment(name: str, *, account: str | None = None, space: str = SHOP) -> Deployment:
    template = PodTemplate(Meta(labels={"app": name}), PodSpec(account or name))
    return Deployment(Meta(name=name, namespace=space), "Deployment", "apps/v1", WorkloadSpec(template, replicas=0))


def split(
    name: str,
    root: str,
    *backends: tuple[str, int],
    matches: Iterable[RuleRef] = (),
    created: str = "",
    origin: Origin | None = None,
) -> TrafficSplit:
    return TrafficSplit(
        namespace=SHOP,
        name=name,
        api_version="split.smi-spec.io/v1alpha4",
        created=created,
        origin=origin,
        service=root,
        backends=tuple(SplitBackend(service=service, weight=weight) for service, weight in backends),
        matches=tuple(matches),
    )


def http(name: str, *matches: str) -> RuleRef:
    return RuleRef(kind="HTTPRouteGroup", name=name, matches=matches or None)


def tcp(name: str) -> RuleRef:
    return RuleRef(kind="TCPRoute", name=name)


def udp(name: str) -> RuleRef:
    return RuleRef(kind="UDPRoute", name=name)


def match(name: str, path: str | None = None, *methods: str, headers: Mapping[str, str] | None = None) -> HttpMatch:
    wanted = tuple(HeaderMatch(name=key, regex=value) for key, value in (headers or {}).items())
    return HttpMatch(name=name, methods=frozenset(methods), path_regex=path, headers=wanted)


def group(name: str, *matches: HttpMatch, invalid: Iterable[str] = ()) -> HTTPRouteGroup:
    return HTTPRouteGroup(
        namespace=SHOP,
        name=name,
        api_version="specs.smi-spec.io/v1alpha4",
        matches=matches,
        invalid=frozenset(invalid),
    )


def tcp_route(name: str, *ports: int) -> TCPRoute:
    return TCPRoute(namespace=SHOP, name=name, api_version="specs.smi-spec.io/v1alpha4", ports=ports)


def udp_route(name: str, *ports: int) -> UDPRoute:
    return UDPRoute(namespace=SHOP, name=name, api_version="specs.smi-spec.io/v1alpha4", ports=ports)


def account(name: str, space: str = "", port: int | None = None) -> Subject:
    return Subject(kind="ServiceAccount", name=name, namespace=space, port=port)


def target(
    name: str,
    destination: Subject | str,
    sources: Iterable[Subject | str] = ("client",),
    rules: Iterable[RuleRef] = (),
    space: str = SHOP,
) -> TrafficTarget:
    return TrafficTarget(
        namespace=space,
        name=name,
        api_version="access.smi-spec.io/v1alpha3",
        destination=account(destination) if isinstance(destination, str) else destination,
        sources=tuple(account(source) if isinstance(source, str) else source for source in sources),
        rules=tuple(rules),
    )


def identity(name: str, space: str = SHOP) -> Identity:
    return Identity("cluster.local", space, name)


def port_id(name: str, number: int = 80, space: str = SHOP) -> PortId:
    return PortId(ServiceId(space, name), number)


def workload(mesh: Mesh, pod: str, space: str = SHOP) -> Workload:
    return mesh.workloads[mesh.proxies[PodId(space, pod)]]


def inbound(mesh: Mesh, pod: str, number: int = 8080) -> InboundPort:
    return next(port for port in workload(mesh, pod).ports if port.port == number)


def shares(mesh: Mesh, root: str, number: int = 80) -> dict[str, int]:
    """The weights of the last route of a destination, by backend."""
    route = mesh.destinations[port_id(root, number)].routes[-1]
    return {share.backend.service.name: share.weight for share in route.shares}


def problems(mesh: Mesh, rule: str) -> list[Problem]:
    return [problem for problem in mesh.problems if problem.rule == rule]
