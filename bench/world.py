"""A mesh of any size as manifests, and the changes that are measured in it.

Rule: the same size gives the same files; what changes is in a file of its own, which is replaced by renaming. Each
endpoint change carries its number in an address (10.200.0.0 and up), by which the load client knows it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kube.enrolment import INJECTED
from mesh.model import Identity, PodId
from mesh.settings import Access

NAMESPACE: Final = "bench"
TRUST_DOMAIN: Final = "cluster.local"
PER_FILE: Final = 500
"""Objects in one manifest."""
CALLERS: Final = 3
"""How many identities may call an identity where access is enforced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is. Proxies and services are dealt out to `identities` in turn.

    Under permissive access every proxy has every service, else those of the identities that it may call.
    """

    proxies: int
    services: int
    endpoints: int = 10
    identities: int = 20
    access: Access = Access.PERMISSIVE

    def identity(self, proxy: int) -> Identity:
        """Whose proxy this is."""
        return Identity(TRUST_DOMAIN, NAMESPACE, account(proxy % self.identities))

    def pod(self, proxy: int) -> PodId:
        """The pod of this proxy."""
        return PodId(NAMESPACE, f"p{proxy}")


Manifest = dict[str, Any]


def account(number: int) -> str:
    """A ServiceAccount's name."""
    return f"sa{number}"


class Folder:
    """The manifests of a mesh in a folder, and the one file that changes."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.size = size
        self.path = folder / "manifests"
        self._aside = folder / "aside"
        self.path.mkdir()
        self._aside.mkdir()

    def write(self) -> None:
        """Everything there is at first."""
        still = list(_objects(self.size))
        for start in range(0, len(still), PER_FILE):
            self._put(f"all-{start // PER_FILE}.yaml", *still[start : start + PER_FILE])
        self.split(0)
        self.target(0)
        for service in range(min(self.size.services, 50)):
            self.endpoint(service, 0)

    def endpoint(self, service: int, number: int) -> float:
        """Give the service one more endpoint, whose address says the change's number. When, by the monotonic clock."""
        return self._put(f"endpoints-{service}.yaml", endpoint_slice(self.size, service, number))

    def split(self, number: int) -> float:
        """Shift the weights of the split of service 0. When, by the monotonic clock."""
        other = self.size.identities if self.size.identities < self.size.services else 0
        backends = [{"service": "s0", "weight": 100 + number}]
        if other:
            backends.append({"service": f"s{other}", "weight": 10})
        return self._put(
            "split.yaml",
            _object("split.smi-spec.io/v1alpha4", "TrafficSplit", "canary", {"service": "s0", "backends": backends}),
        )

    def target(self, number: int) -> float:
        """Allow one path more, or one less, to the callers of identity 0. When, by the monotonic clock."""
        return self._put("target.yaml", traffic_target(self.size, 0, ("all", "extra")[: 1 + number % 2]))

    def _put(self, name: str, *objects: Manifest) -> float:
        aside = self._aside / name
        # A file that ends without a newline looks half-written, and the source would wait for the rest.
        aside.write_text("".join(f"---\n{json.dumps(each)}\n" for each in objects))
        now = time.monotonic()
        aside.rename(self.path / name)
        return now


def _objects(size: Size) -> Iterator[Manifest]:
    namespace = _object("v1", "Namespace", NAMESPACE)
    del namespace["metadata"]["namespace"]
    yield namespace
    for number in range(size.proxies):
        yield _pod(size, number)
    for number in range(size.services):
        yield _service(size, number)
        if number >= 50:
            yield endpoint_slice(size, number, None)
    yield {
        **_object("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", "paths"),
        "spec": {
            "matches": [
                {"name": "all", "pathRegex": "/api/.*", "methods": ["*"]},
                {"name": "extra", "pathRegex": "/extra/.*", "methods": ["*"]},
            ]
        },
    }
    for number in range(1, size.identities):
        yield traffic_target(size, number, ("all",))


def _object(api_version: str, kind: str, name: str, spec: Manifest | None = None) -> Manifest:
    made: Manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}
    return {**made, "spec": spec} if spec is not None else made


def _address(proxy: int) -> str:
    return f"10.{100 + proxy // 62500}.{proxy // 250 % 250}.{proxy % 250 + 1}"


def _pod(size: Size, number: int) -> Manifest:
    spec = {
        "serviceAccountName": account(number % size.identities),
        "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 8080, "name": "http"}]}],
    }
    made = _object("v1", "Pod", f"p{number}", spec)
    made["metadata"] |= {"labels": {"app": f"a{number % size.identities}"}, "annotations": {INJECTED: "true"}}
    return {**made, "status": {"podIP": _address(number), "phase": "Running"}}


def _service(size: Size, number: int) -> Manifest:
    spec = {
        "clusterIP": f"10.{96 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
        "selector": {"app": f"a{number % size.identities}"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    return _object("v1", "Service", f"s{number}", spec)


def endpoint_slice(size: Size, service: int, number: int | None) -> Manifest:
    """The pods behind a service, and the address of this change.

    No pod has that address, so whatever changes has it from the start: the first address without a sidecar changes more
    than endpoints (docs/decisions/0100).
    """
    pods = range(service % size.identities, size.proxies, size.identities)
    chosen = [pods[(service + step) % len(pods)] for step in range(min(size.endpoints, len(pods)))] if pods else []
    endpoints: list[Manifest] = [
        {
            "addresses": [_address(pod)],
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"p{pod}"},
        }
        for pod in chosen
    ]
    if number is not None:
        extra = f"10.{200 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        endpoints.append({"addresses": [extra], "conditions": {"ready": True}})
    made = _object("discovery.k8s.io/v1", "EndpointSlice", f"s{service}-1")
    made["metadata"]["labels"] = {"kubernetes.io/service-name": f"s{service}"}
    return {
        **made,
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def traffic_target(size: Size, number: int, matches: tuple[str, ...]) -> Manifest:
    """Who may call identity `number`: the identities before it."""
    callers = {(number - step) % size.identities for step in range(1, CALLERS + 1)}
    spec = {
        "destination": {"kind": "ServiceAccount", "name": account(number), "namespace": NAMESPACE},
        "sources": [
            {"kind": "ServiceAccount", "name": account(caller), "namespace": NAMESPACE} for caller in sorted(callers)
        ],
        "rules": [{"kind": "HTTPRouteGroup", "name": "paths", "matches": list(matches)}],
    }
    return _object("access.smi-spec.io/v1alpha3", "TrafficTarget", f"t{number}", spec)
