"""More of what the API server refuses of built-in kinds: ranges, enumerations, and what may not change.

Rule: a check is here because a contract test shows that a real API server makes it.
Source: kubernetes/pkg/apis/{core,discovery,coordination}/validation.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.errors import Cause
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object

PORT_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
PORT_SAID = "must be between 1 and 65535, inclusive"
POLICIES = ("Always", "OnFailure", "Never")
MUTABLE = frozenset({"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"})
FROZEN = "Forbidden: pod updates may not change fields other than `spec.containers[*].image` and a few more"


def built_in(kind: Kind, thing: Object, old: Object | None) -> Iterator[Cause]:
    """What breaks the limits of a kind."""
    check = CHECKS.get(kind.key)
    if check is not None:
        yield from check(thing, old)


def _invalid(field: str, value: object, why: str) -> Cause:
    return Cause(field, f"Invalid value: {json.dumps(value)}: {why}")


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _unsupported(field: str, value: object, allowed: tuple[str, ...]) -> Cause:
    names = ", ".join(json.dumps(each) for each in allowed)
    return Cause(field, f"Unsupported value: {json.dumps(value)}: supported values: {names}", "FieldValueNotSupported")


def _pod(thing: Object, old: Object | None) -> Iterator[Cause]:
    spec = thing.get("spec") or {}
    if spec.get("restartPolicy", "Always") not in POLICIES:
        yield _unsupported("spec.restartPolicy", spec["restartPolicy"], POLICIES)
    for part in ("initContainers", "containers"):
        for number, each in enumerate(spec.get(part) or []):
            yield from _container(each, f"spec.{part}[{number}]", init=part == "initContainers")
    if old is not None and _frozen(spec) != _frozen(old.get("spec") or {}):
        yield Cause("spec", FROZEN, "FieldValueForbidden")
    yield from _ephemeral(spec, (old or {}).get("spec") or {})


def _ephemeral(spec: Object, before: Object) -> Iterator[Cause]:
    """They are added, by their own path, and never changed or taken away."""
    field = "spec.ephemeralContainers"
    now = {each.get("name"): each for each in spec.get("ephemeralContainers") or []}
    if now and not before:
        yield Cause(field, "Forbidden: cannot be set on create", "FieldValueForbidden")
    for name, each in {each["name"]: each for each in before.get("ephemeralContainers") or []}.items():
        if now.get(name) != each:
            said = f"Forbidden: existing ephemeral containers {json.dumps(name)} may not be removed or changed"
            yield Cause(field, said, "FieldValueForbidden")
    targets = {each["name"] for part in ("initContainers", "containers") for each in spec.get(part) or []}
    for number, each in enumerate(spec.get("ephemeralContainers") or []):
        wanted = each.get("targetContainerName")
        if wanted and wanted not in targets:
            yield Cause(
                f"{field}[{number}].targetContainerName", f"Not found: {json.dumps(wanted)}", "FieldValueNotFound"
            )


def _frozen(spec: Object) -> Object:
    """What of a pod's spec stays as it is. A binding sets the node, which nobody may change afterwards."""
    left = {name: value for name, value in spec.items() if name not in MUTABLE | {"nodeName", "ephemeralContainers"}}
    for part in ("initContainers", "containers"):
        left[part] = [{name: value for name, value in each.items() if name != "image"} for each in spec.get(part) or []]
    return {name: value for name, value in left.items() if value not in ([], {}, None)}


def _container(container: Object, path: str, *, init: bool) -> Iterator[Cause]:
    for number, port in enumerate(container.get("ports") or []):
        if not 0 < port.get("containerPort", 0) < 65536:
            yield _invalid(f"{path}.ports[{number}].containerPort", port.get("containerPort", 0), PORT_SAID)
    policy = container.get("restartPolicy")
    if policy is not None and policy not in POLICIES:
        yield _unsupported(f"{path}.restartPolicy", policy, POLICIES)
    if init and policy != "Always":
        for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(name):
                said = "Forbidden: may not be set for init containers without restartPolicy=Always"
                yield Cause(f"{path}.{name}", said, "FieldValueForbidden")


def _service(thing: Object, _old: Object | None) -> Iterator[Cause]:
    seen: set[tuple[Any, Any]] = set()
    for number, port in enumerate((thing.get("spec") or {}).get("ports") or []):
        name = port.get("name", "")
        if name and (not PORT_NAME.match(name) or len(name) > 63):
            said = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
            yield _invalid(f"spec.ports[{number}].name", name, said)
        key = (port.get("protocol", "TCP"), port.get("port"))
        if key in seen:
            shown = json.dumps({"port": key[1], "protocol": key[0]}, separators=(",", ":"))
            yield Cause(f"spec.ports[{number}]", f"Duplicate value: {shown}", "FieldValueDuplicate")
        seen.add(key)


def _slice(thing: Object, _old: Object | None) -> Iterator[Cause]:
    for number, endpoint in enumerate(thing.get("endpoints") or []):
        for at, address in enumerate(endpoint.get("addresses") or []):
            try:
                found = ipaddress.ip_address(address)
            except ValueError:
                continue
            for bad, name in ((found.is_loopback, "loopback"), (found.is_link_local, "link-local")):
                if bad:
                    said = f"may not be in the {name} range"
                    yield _invalid(f"endpoints[{number}].addresses[{at}]", address, said)


def _lease(thing: Object, _old: Object | None) -> Iterator[Cause]:
    spec = thing.get("spec") or {}
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield _invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    if spec.get("leaseTransitions", 0) < 0:
        yield _invalid("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0")


def _event(thing: Object, old: Object | None) -> Iterator[Cause]:
    """Of events.k8s.io/v1; those of the core group are hardly checked."""
    if old is not None or not thing.get("apiVersion", "").startswith("events.k8s.io"):
        return
    if not thing.get("eventTime"):
        yield _required("eventTime")
    if not thing.get("type"):
        yield _unsupported("type", "", ("Normal", "Warning"))
    for name in ("reportingController", "reportingInstance", "action", "reason"):
        if not thing.get(name):
            yield _required(name)
    if len(thing.get("note", "").encode()) > 1024:
        yield _invalid("note", "", "can have at most 1024 bytes")


CHECKS: dict[tuple[str, str], Callable[[Object, Object | None], Iterator[Cause]]] = {
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("discovery.k8s.io", "endpointslices"): _slice,
    ("coordination.k8s.io", "leases"): _lease,
    ("events.k8s.io", "events"): _event,
}
