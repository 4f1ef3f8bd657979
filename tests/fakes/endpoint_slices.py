"""EndpointSlices of Services with a selector. Rule: an endpoint says what its pod's Ready condition says.

Source: Kubernetes page "EndpointSlices"; k8s.io/endpointslice (reconciler.go, utils.go).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.fakes.kinds import Key
from tests.fakes.storage import Event, Object, Place, Stored

if TYPE_CHECKING:
    from tests.fakes.api import Api

SERVICES: Key = ("", "services")
SLICES: Key = ("discovery.k8s.io", "endpointslices")
NODES: Key = ("", "nodes")
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
FULL = 100  # endpoints in one slice


def services_of(api: Api, event: Event) -> Iterator[Place]:
    """The Services that select a pod, as it was or as it is."""
    states = [each.object for each in (event.before, event.after) if each is not None]
    namespace = event.after.object["metadata"]["namespace"]
    for service in api.store.all(SERVICES, namespace):
        if any(_selects(service.object, pod) for pod in states):
            yield namespace, service.object["metadata"]["name"]


def _selects(service: Object, pod: Object) -> bool:
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def reconcile(api: Api, place: Place) -> None:
    """Bring the slices of one Service in line with its pods."""
    service = api.store.get(SERVICES, place)
    if service is None or not service.object["spec"].get("selector"):
        return
    if service.object["spec"].get("type") == "ExternalName" or service.object["metadata"].get("deletionTimestamp"):
        return
    have = [each for each in api.store.all(SLICES, place[0]) if _is_ours(each, service.object)]
    for wanted in _wanted(api, service.object):
        match = next((each for each in have if each.object.get("ports") == wanted["ports"]), have[0] if have else None)
        if match is None:
            metadata = {**wanted["metadata"], "name": f"{place[1]}-{api.suffix()}", "generateName": f"{place[1]}-"}
            body = {name: wanted[name] for name in ("addressType", "endpoints", "ports")}
            api.system.create("EndpointSlice", {**metadata, "generation": 1}, SLICES[0], **body)
            continue
        have.remove(match)
        _update(api, match, wanted)
    for left in have:
        api.store.delete(SLICES, left)


def _is_ours(stored: Stored, service: Object) -> bool:
    labels = stored.object["metadata"].get("labels") or {}
    return labels.get(SERVICE_NAME) == service["metadata"]["name"] and labels.get(MANAGED_BY) == CONTROLLER


def _update(api: Api, old: Stored, wanted: Object) -> None:
    metadata = {**old.object["metadata"], "labels": wanted["metadata"]["labels"]}
    thing = {**old.object, **wanted, "metadata": metadata}
    if thing != old.object:
        metadata["generation"] = metadata.get("generation", 1) + 1
        api.store.replace(SLICES, thing, old)


def _wanted(api: Api, service: Object) -> list[Object]:
    """The slices a Service should have: by the ports its pods have, so many endpoints in each at most."""
    by_ports: dict[str, list[Object]] = {}
    for stored in api.store.all(("", "pods"), service["metadata"]["namespace"]):
        pod = stored.object
        if _selects(service, pod) and _is_listed(api, service, pod):
            ports = json.dumps(_ports(service, pod))
            by_ports.setdefault(ports, []).append(_endpoint(api, service, pod))
    if not by_ports:
        return [_slice(service, None, None)]
    made = []
    for ports, endpoints in sorted(by_ports.items()):
        parts = [endpoints[at : at + FULL] for at in range(0, len(endpoints), FULL)]
        made += [_slice(service, part, json.loads(ports) or None) for part in parts]
    return made


def _slice(service: Object, endpoints: list[Object] | None, ports: list[Object] | None) -> Object:
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], MANAGED_BY: CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    owner = {
        "apiVersion": "v1", "kind": "Service", "name": metadata["name"], "uid": metadata["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    six = "IPv6" in service["spec"].get("ipFamilies", ["IPv4"])[:1]
    return {
        "metadata": {"namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]},
        "addressType": "IPv6" if six else "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }


def _is_listed(api: Api, service: Object, pod: Object) -> bool:
    """A pod with an address that has not ended, on a node that exists."""
    status, node = pod.get("status", {}), pod["spec"].get("nodeName", "")
    known = not node or api.store.get(NODES, ("", node)) is not None
    if not known and not service["spec"].get("publishNotReadyAddresses"):
        return False
    return bool(status.get("podIP")) and status.get("phase") not in {"Succeeded", "Failed"}


def is_ready(pod: Object) -> bool:
    """Whether a pod's Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _endpoint(api: Api, service: Object, pod: Object) -> Object:
    metadata, spec = pod["metadata"], pod["spec"]
    serving, terminating = is_ready(pod), bool(metadata.get("deletionTimestamp"))
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    made: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {
            "kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
        },
    }  # fmt: skip
    if spec.get("nodeName"):
        made["nodeName"] = spec["nodeName"]
        node = api.store.get(NODES, ("", spec["nodeName"]))
        zone = (node.object["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone") if node else None
        if zone:
            made["zone"] = zone
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        made["hostname"] = spec["hostname"]
    return made


def _ports(service: Object, pod: Object) -> list[Object]:
    found = []
    for port in service["spec"].get("ports") or []:
        number = _number(port, pod)
        if number is None:
            continue
        made: Object = {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": number}
        if port.get("appProtocol"):
            made["appProtocol"] = port["appProtocol"]
        found.append(made)
    return found


def _number(port: Object, pod: Object) -> int | None:
    """The container port a Service's port leads to."""
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers", []) if each.get("restartPolicy") == "Always"]
    for container in [*spec.get("containers", []), *sidecars]:
        for each in container.get("ports") or []:
            if each.get("name") == target and each.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(each["containerPort"])
    return None
