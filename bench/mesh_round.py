"""How long a round of the mesh takes, and how many leaves really run. Rule: prints what it measured, nothing else.

`python bench/mesh_round.py [services] [endpoints] [identities]`, by default 2,000, 20,000 and 500.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable

from kube.enrolment import INJECTED
from kube.objects import (
    Container,
    ContainerPort,
    EndpointConditions,
    EndpointEntry,
    EndpointPort,
    EndpointSlice,
    Meta,
    Namespace,
    Object,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    TargetRef,
)
from kube.problem import Ref
from mesh.build import Builder
from mesh.settings import MeshSettings
from smi.kinds import HttpMatch, HTTPRouteGroup, RuleRef, SplitBackend, Subject, TrafficSplit, TrafficTarget
from smi.resources import Anything, Resources

NAMESPACES = 50
ROUNDS = 15


def world(services: int, endpoints: int, identities: int) -> dict[Ref, Anything]:
    """Services spread over namespaces, each with its share of pods; each identity may call ten others."""
    objects: list[Anything] = [Namespace(Meta(name=f"ns{index}"), "Namespace", "v1") for index in range(NAMESPACES)]
    replicas = max(endpoints // services, 1)
    for index in range(services):
        objects += service(index, replicas, identities)
    for index in range(identities):
        objects += access(index, identities)
    for index in range(0, services, 10):
        root = f"s{index}"
        objects.append(
            TrafficSplit(
                namespace=f"ns{index % NAMESPACES}",
                name=root,
                api_version="split.smi-spec.io/v1alpha4",
                service=root,
                backends=(SplitBackend(service=root, weight=90), SplitBackend(service="missing", weight=10)),
            )
        )
    return {item.ref: item for item in objects}


def service(index: int, replicas: int, identities: int) -> list[Object]:
    space, name, labels = f"ns{index % NAMESPACES}", f"s{index}", {"app": f"s{index}", "tier": "backend"}
    account = f"sa{index % identities}"
    spec = ServiceSpec(
        selector=labels,
        ports=(ServicePort(port=80, name="http", target_port=8080),),
        cluster_ip=f"10.96.{index // 250}.{index % 250 + 1}",
    )
    pods = [pod(space, f"{name}-{number}", labels, account, address(index, number)) for number in range(replicas)]
    return [
        Service(Meta(name=name, namespace=space), "Service", "v1", spec),
        slice_of(space, name, [item.status.pod_ip for item in pods]),
        *pods,
    ]


def slice_of(space: str, name: str, addresses: list[str], unready: int = -1) -> EndpointSlice:
    return EndpointSlice(
        Meta(name=f"{name}-1", namespace=space, labels={"kubernetes.io/service-name": name}),
        "EndpointSlice",
        "discovery.k8s.io/v1",
        endpoints=tuple(
            EndpointEntry(
                addresses=(text,),
                conditions=EndpointConditions(ready=number != unready),
                target_ref=TargetRef("Pod", space, f"{name}-{number}"),
            )
            for number, text in enumerate(addresses)
        ),
        ports=(EndpointPort(name="http", port=8080),),
    )


def pod(space: str, name: str, labels: dict[str, str], account: str, ip: str) -> Pod:
    container = Container(name="app", ports=(ContainerPort(8080, "http"),))
    meta = Meta(name=name, namespace=space, labels=labels, annotations={INJECTED: "true"})
    return Pod(meta, "Pod", "v1", PodSpec(account, (container,)), PodStatus(pod_ip=ip, phase="Running"))


def address(index: int, number: int) -> str:
    return f"10.{index // 250}.{index % 250}.{number + 1}"


def access(index: int, identities: int) -> list[Anything]:
    space = f"ns{index % NAMESPACES}"
    sources = tuple(
        Subject(kind="ServiceAccount", name=f"sa{other % identities}", namespace=f"ns{other % NAMESPACES}")
        for other in range(index + 1, index + 11)
    )
    return [
        HTTPRouteGroup(namespace=space, name=f"r{index}", api_version="v", matches=(HttpMatch(name="all"),)),
        TrafficTarget(
            namespace=space,
            name=f"t{index}",
            api_version="v",
            destination=Subject(kind="ServiceAccount", name=f"sa{index}"),
            sources=sources,
            rules=(RuleRef(kind="HTTPRouteGroup", name=f"r{index}"),),
        ),
    ]


def measure(builder: Builder, objects: dict[Ref, Anything], what: str, edit: Callable[[int], Anything]) -> None:
    """Make the same kind of edit again and again, and print the median and what ran in the last round."""
    times = []
    for number in range(ROUNDS):
        changed = edit(number)
        objects[changed.ref] = changed
        resources, before = Resources(dict(objects)), builder.runs()
        started = time.process_time()
        builder.build(resources)
        times.append((time.process_time() - started) * 1000)
    ran = {name: count - before[name] for name, count in builder.runs().items() if count != before[name]}
    print(f"{what}: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms (CPU); ran {ran}")


def main() -> None:
    services, endpoints, identities = [int(text) for text in sys.argv[1:4]] or [2000, 20000, 500]
    objects = world(services, endpoints, identities)
    builder = Builder(MeshSettings())
    started = time.perf_counter()
    mesh = builder.build(Resources(dict(objects)))
    print(
        f"first round: {(time.perf_counter() - started) * 1000:.0f} ms; {len(mesh.destinations)} destinations, ", end=""
    )
    print(f"{len(mesh.proxies)} proxies, {len(mesh.workloads)} workloads, {len(mesh.scopes)} scopes")
    gc.collect()
    gc.freeze()  # as the control plane does once it serves
    replicas = max(endpoints // services, 1)
    addresses = [address(7, number) for number in range(replicas)]
    measure(builder, objects, "nothing", lambda _: objects[Ref("Namespace", "", "ns0")])
    measure(builder, objects, "one endpoint", lambda number: slice_of("ns7", "s7", addresses, number % 2))
    measure(
        builder,
        objects,
        "one pod",
        lambda number: pod("ns7", "s7-0", {"app": "s7", "tier": "backend"}, "sa7", f"10.200.0.{number + 1}"),
    )
    measure(
        builder,
        objects,
        "one split",
        lambda number: TrafficSplit(
            namespace="ns7",
            name="s7",
            api_version="v",
            service="s7",
            backends=(SplitBackend(service="s7", weight=number + 1), SplitBackend(service="s57", weight=1)),
        ),
    )
    measure(
        builder,
        objects,
        "one rule",
        lambda number: HTTPRouteGroup(
            namespace="ns7", name="r7", api_version="v", matches=(HttpMatch(name="all", path_regex=f"/{number}"),)
        ),
    )


if __name__ == "__main__":
    main()
