"""What the API server refuses of built-in kinds, as far as our tests may meet it. Rule: texts are those of the server.

Source: kubernetes/pkg/apis/core/validation, apimachinery/pkg/api/validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.errors import Cause
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VALUE_SAID = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def required(field: str, why: str = "") -> Cause:
    return Cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def wrong(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, f"Invalid value: {shown}: {why}")


def immutable(field: str, value: object) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(field, f"Invalid value: {shown}: field is immutable")


def metadata(kind: Kind, thing: Object, old: Object | None) -> Iterator[Cause]:
    """Names, labels, finalizers."""
    found = thing["metadata"]
    name = found["name"]
    if kind.group == "rbac.authorization.k8s.io" or kind.plural == "clustertrustbundles":
        if "/" in name or "%" in name:
            yield wrong("metadata.name", name, "may not contain '/'" if "/" in name else "may not contain '%'")
    elif kind.plural in {"namespaces", "services"} and (not LABEL.match(name) or len(name) > 63):
        yield wrong("metadata.name", name, LABEL_SAID)
    elif not SUBDOMAIN.match(name) or len(name) > 253:
        yield wrong("metadata.name", name, SUBDOMAIN_SAID)
    for key, value in (found.get("labels") or {}).items():
        if not VALUE.match(value) or len(value) > 63:
            yield wrong("metadata.labels", value, VALUE_SAID)
        if not QUALIFIED.match(key.rpartition("/")[2]):
            yield wrong("metadata.labels", key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
    yield from _no_new_finalizers(found, old)


def _no_new_finalizers(found: Object, old: Object | None) -> Iterator[Cause]:
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return
    new = set(found.get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
    if new:
        listed = ", ".join(f'"{each}"' for each in sorted(new))
        said = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
        yield Cause("metadata.finalizers", f"{said} []string{{{listed}}}", "FieldValueForbidden")


def built_in(kind: Kind, thing: Object, old: Object | None) -> Iterator[Cause]:
    """The parts of a kind's own validation that the mesh may meet."""
    check = CHECKS.get(kind.plural)
    if check is not None:
        yield from check(thing, old)


def _pod(thing: Object, old: Object | None) -> Iterator[Cause]:
    spec = thing.get("spec") or {}
    yield from _containers(spec, "spec")
    if old is not None:
        before = (old.get("spec") or {}).get("containers")
        now = spec.get("containers")
        if _shape(before) != _shape(now):
            said = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"  # noqa: E501 - the server's words
            yield Cause("spec", said, "FieldValueForbidden")


def _shape(containers: Any) -> Any:
    return [{k: v for k, v in each.items() if k != "image"} for each in containers or []]


def _containers(spec: Object, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    for part in ("initContainers", "containers"):
        for at, each in enumerate(spec.get(part) or []):
            where = f"{path}.{part}[{at}]"
            name = each.get("name", "")
            if not name:
                yield required(f"{where}.name")
            elif not LABEL.match(name):
                yield wrong(f"{where}.name", name, LABEL_SAID)
            elif name in names:
                yield Cause(f"{where}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
            names.add(name)
            if not each.get("image"):
                yield required(f"{where}.image")
            yield from _mounts(each, spec, where)


def _mounts(container: Object, spec: Object, where: str) -> Iterator[Cause]:
    volumes = {each["name"] for each in spec.get("volumes") or []}
    for at, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            said = f'Not found: "{mount.get("name", "")}"'
            yield Cause(f"{where}.volumeMounts[{at}].name", said, "FieldValueNotFound")


def _service(thing: Object, old: Object | None) -> Iterator[Cause]:
    spec = thing.get("spec") or {}
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    for at, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{at}].name")
        if not 0 < int(port.get("port") or 0) < 65536:
            said = "must be between 1 and 65535, inclusive"
            yield wrong(f"spec.ports[{at}].port", port.get("port") or 0, said)
    if old is not None:
        before = (old.get("spec") or {}).get("clusterIP")
        if before and spec.get("type") != "ExternalName" and spec.get("clusterIP") != before:
            yield Cause(
                "spec.clusterIPs[0]", f'Invalid value: ["{spec.get("clusterIP")}"]: may not change once set'
            )  # fmt: skip


def _workload(thing: Object, old: Object | None) -> Iterator[Cause]:
    spec = thing.get("spec") or {}
    selector = spec.get("selector")
    labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
    if not selector:
        yield required("spec.selector")
    elif any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        said = "`selector` does not match template `labels`"
        shown = ", ".join(f'"{k}":"{v}"' for k, v in sorted(labels.items()))
        yield Cause("spec.template.metadata.labels", f"Invalid value: {{{shown}}}: {said}")
    yield from _containers(spec.get("template", {}).get("spec") or {}, "spec.template.spec")
    if old is not None and selector != (old.get("spec") or {}).get("selector"):
        yield immutable("spec.selector", selector)


def _secret(thing: Object, old: Object | None) -> Iterator[Cause]:
    if old is not None and old.get("type") != thing.get("type"):
        yield immutable("type", thing.get("type", ""))
    if thing.get("type") == "kubernetes.io/tls":
        for name in ("tls.crt", "tls.key"):
            if name not in (thing.get("data") or {}):
                yield required(f"data[{name}]")


def _binding(thing: Object, old: Object | None) -> Iterator[Cause]:
    if old is not None and old.get("roleRef") != thing.get("roleRef"):
        shown = thing.get("roleRef")
        yield Cause("roleRef", f"Invalid value: {shown}: cannot change roleRef")


def _definition(thing: Object, old: Object | None) -> Iterator[Cause]:
    spec, name = thing.get("spec") or {}, thing["metadata"]["name"]
    if name != f"{spec.get('names', {}).get('plural')}.{spec.get('group')}":
        yield wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    versions = spec.get("versions") or []
    if sum(bool(each.get("storage")) for each in versions) != 1:
        shown = ", ".join(str(each.get("name")) for each in versions)
        yield wrong("spec.versions", f"[{shown}]", "must have exactly one version marked as storage version")
    for at, each in enumerate(versions):
        if not (each.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"spec.versions[{at}].schema.openAPIV3Schema", "schemas are required")


CHECKS = {
    "customresourcedefinitions": _definition,
    "pods": _pod,
    "services": _service,
    "deployments": _workload,
    "replicasets": _workload,
    "statefulsets": _workload,
    "daemonsets": _workload,
    "secrets": _secret,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
}
