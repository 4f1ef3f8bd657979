"""Names without DNS: the hosts file of a pod (hosts(5)). Rule: pure; the same names a cluster's DNS would answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kube.objects import EndpointSlice, Service
from local.addresses import ServiceKey
from local.endpoints import SERVICE_NAME

CONTROL_PLANE = ("weft-system", "weft")
"""The Service sidecars find the control plane by; here it is the node itself."""

LOOPBACK = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")


def hosts_file(
    namespace: str,
    own: tuple[str, str],
    addresses: Mapping[ServiceKey, tuple[str, ...]],
    pods: Mapping[tuple[str, str, str], str],
    domain: str,
) -> str:
    """The hosts file of a pod in `namespace`.

    `own` is the pod's address and name; `addresses` are what each Service's name means; `pods` are the addresses of
    pods with a name of their own, by namespace, Service and hostname.
    """
    lines = [*LOOPBACK, f"{own[0]} {own[1]}"]
    for key, found in sorted(addresses.items()):
        lines += [f"{address} {' '.join(_service_names(key, namespace, domain))}" for address in found]
    for (space, service, hostname), address in sorted(pods.items()):
        names = [f"{hostname}.{name}" for name in _service_names((space, service), namespace, domain)]
        lines.append(f"{address} {' '.join(names)}")
    return "\n".join(lines) + "\n"


def service_addresses(
    services: Collection[Service],
    ips: Mapping[ServiceKey, str],
    slices: Iterable[EndpointSlice],
    gateway: str,
    domain: str,
) -> dict[ServiceKey, tuple[str, ...]]:
    """What each Service's name means: its ClusterIP, or the ready pods of a headless one; and the control plane's.

    An ExternalName Service means what the name means that it stands for, where that is another Service's full name;
    names outside the cluster can't be looked up here.
    """
    ready: dict[ServiceKey, list[str]] = {}
    for item in slices:
        key = (item.namespace, item.metadata.labels[SERVICE_NAME])
        found = [address for entry in item.endpoints if entry.conditions.ready for address in entry.addresses]
        ready.setdefault(key, []).extend(found)
    answers: dict[ServiceKey, tuple[str, ...]] = {CONTROL_PLANE: (gateway,)}
    for service in services:
        key = (service.namespace, service.name)
        answers[key] = (ips[key],) if key in ips else tuple(sorted(ready.get(key, [])))
    return answers | _external(services, answers, domain)


def pod_addresses(slices: Iterable[EndpointSlice]) -> dict[tuple[str, str, str], str]:
    """The pods with a name of their own (StatefulSets), by namespace, Service and hostname."""
    return {
        (item.namespace, item.metadata.labels[SERVICE_NAME], entry.hostname): entry.addresses[0]
        for item in slices
        for entry in item.endpoints
        if entry.hostname
    }


def _external(
    services: Iterable[Service], answers: Mapping[ServiceKey, tuple[str, ...]], domain: str
) -> dict[ServiceKey, tuple[str, ...]]:
    """What ExternalName Services mean, each by one step: a chain of them is not followed."""
    known = {f"{name}.{space}.svc.{domain}": addresses for (space, name), addresses in answers.items()}
    return {
        (service.namespace, service.name): known.get(service.spec.external_name.lower().rstrip("."), ())
        for service in services
        if service.spec.type == "ExternalName"
    }


def _service_names(key: ServiceKey, namespace: str, domain: str) -> list[str]:
    space, name = key
    names = [f"{name}.{space}", f"{name}.{space}.svc", f"{name}.{space}.svc.{domain}"]
    return [name, *names] if space == namespace else names
