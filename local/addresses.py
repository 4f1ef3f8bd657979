"""Addresses of pods and Services. Rule: an address stays with its name as long as the name is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address

from kube.objects import Service
from kube.problem import Problem
from local.workloads import RULE, PodKey

ServiceKey = tuple[str, str]
"""Namespace and name of a Service."""

HEADLESS = "None"


class PodAddresses:
    """Hands out pod addresses: the first is the gateway's, and one that was given back is used again last."""

    def __init__(self, network: IPv4Network) -> None:
        self._network = network
        self._held: dict[PodKey, str] = {}
        self._used: set[str] = set()
        self._next = 2

    @property
    def gateway(self) -> str:
        """The node's own address."""
        return str(self._network[1])

    def take(self, pod: PodKey) -> str:
        """The pod's address. Raises OverflowError when the network is full."""
        if pod in self._held:
            return self._held[pod]
        for _ in range(self._network.num_addresses - 3):
            address = str(self._network[self._next])
            self._next = self._next + 1 if self._next < self._network.num_addresses - 2 else 2
            if address not in self._used:
                self._held[pod] = address
                self._used.add(address)
                return address
        raise OverflowError(f"all addresses of {self._network} are in use")

    def give_back(self, pod: PodKey) -> None:
        """Free the address of a pod that is gone."""
        self._used.discard(self._held.pop(pod, ""))


def cluster_ips(services: Iterable[Service], network: IPv4Network) -> tuple[dict[ServiceKey, str], list[Problem]]:
    """The ClusterIP of each Service that has one.

    An address that the manifest names is honoured, all others follow from the name alone (with the next free one on a
    collision), so they are the same on every start.
    """
    named: dict[str, ServiceKey] = {}
    problems: list[Problem] = []
    open_services: list[Service] = []
    for service in sorted(services, key=lambda service: (service.namespace, service.name)):
        asked = service.spec.cluster_ip
        if service.spec.type == "ExternalName" or asked == HEADLESS:
            continue
        if asked and _within(asked, network) and asked not in named:
            named[asked] = (service.namespace, service.name)
        else:
            open_services.append(service)
            if asked:
                problems.append(_refused(service, asked, network, named))
    for service in open_services:
        key = (service.namespace, service.name)
        named[_free(key, network, named)] = key
    return {key: address for address, key in named.items()}, problems


def _within(address: str, network: IPv4Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _free(key: ServiceKey, network: IPv4Network, used: Mapping[str, ServiceKey]) -> str:
    room = network.num_addresses - 2
    start = int.from_bytes(hashlib.sha256("/".join(key).encode()).digest()[:8], "big")
    for step in range(room):
        address = str(IPv4Address(int(network.network_address) + 1 + (start + step) % room))
        if address not in used:
            return address
    raise OverflowError(f"all addresses of {network} are in use")


def _refused(service: Service, asked: str, network: IPv4Network, used: Mapping[str, ServiceKey]) -> Problem:
    taken = "/".join(used[asked]) if asked in used else ""
    why = f"is the address of {taken}" if taken else f"is not an address of {network}"
    return Problem(service.ref, "spec.clusterIP", f"{asked} {why}; the Service gets another address", RULE)
