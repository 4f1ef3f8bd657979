"""What pods refer to, followed in the API server: ConfigMaps, Secrets, and the names of Services.

Rule: names mean what a cluster's DNS would say. The control plane's is the node itself, whatever Service has its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from kube.collection import Key
from kube.objects import EndpointSlice, RawDocument, Service
from local.addresses import HEADLESS
from local.endpoints import SERVICE_NAME
from local.environment import Values
from local.kubelet.following import Followed, Upstream
from local.names import CONTROL_PLANE, hosts_file, pod_addresses, service_addresses
from local.settings import ClusterSettings

FIELDS = ("kind", "data", "binaryData")
"""What is kept of a ConfigMap or a Secret."""


class World:
    """All of it.

    `values_changed` is told a namespace whose ConfigMaps or Secrets are others now, `names_changed` that names are.
    """

    def __init__(
        self,
        upstream: Upstream,
        settings: ClusterSettings,
        values_changed: Callable[[str], None],
        names_changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._names_changed = names_changed
        self._addresses: dict[Key, tuple[str, ...]] | None = None
        self._values = {
            kind: Followed(upstream, f"/api/v1/{kind.lower()}s", _contents(kind), lambda key: values_changed(key[0]))
            for kind in ("ConfigMap", "Secret")
        }
        self._services = Followed(upstream, "/api/v1/services", _service, self._renamed)
        self._slices = Followed(upstream, "/apis/discovery.k8s.io/v1/endpointslices", _slice, self._renamed)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for each in self._values.values():
                tasks.create_task(each.run())
            tasks.create_task(self._services.run())
            tasks.create_task(self._slices.run())

    async def whole(self) -> None:
        """Wait until all was read once."""
        followed = [each.whole for each in self._values.values()]
        for whole in (*followed, self._services.whole, self._slices.whole):
            await whole.wait()

    def _renamed(self, _key: Key) -> None:
        self._addresses = None
        self._names_changed()

    def values(self, kind: str) -> Values:
        """The ConfigMaps or the Secrets."""
        return self._values[kind]

    def hosts(self, namespace: str, address: str, name: str) -> str:
        """The hosts file of a pod."""
        slices = [each for each in self._slices.values() if SERVICE_NAME in each.metadata.labels]
        gateway, domain = str(self._settings.pod_network[1]), self._settings.cluster_domain
        if self._addresses is None:
            services = self._services.values()
            ips = {(each.namespace, each.name): ip for each in services if (ip := _address(each))}
            found = service_addresses(services, ips, slices, gateway, domain)
            self._addresses = {**found, CONTROL_PLANE: (gateway,)}
        own = address, name
        return hosts_file(namespace, own, self._addresses, pod_addresses(slices), domain)


def _address(service: Service) -> str:
    """The Service's ClusterIP, empty where it has none."""
    return "" if service.spec.cluster_ip == HEADLESS else service.spec.cluster_ip


def _contents(kind: str) -> Callable[[RawDocument], RawDocument]:
    def read(document: RawDocument) -> RawDocument:
        # Items of a list don't say what they are.
        return {name: value for name, value in {**document, "kind": kind}.items() if name in FIELDS}

    return read


def _service(document: RawDocument) -> Service:
    return msgspec.convert(document, Service)


def _slice(document: RawDocument) -> EndpointSlice:
    return msgspec.convert(document, EndpointSlice)
