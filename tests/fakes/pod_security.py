"""Pod Security admission, level by label of the namespace. Rule: only `enforce` is obeyed, and of the standards what a
mesh's pods may meet; `audit` and `warn` do nothing here.

Source: Kubernetes pages "Pod Security Standards" and "Pod Security Admission".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.fakes import errors
from tests.fakes.hooks import Attempt
from tests.fakes.storage import Object, Store

LABEL = "pod-security.kubernetes.io/enforce"
HARMLESS = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
VOLUMES = frozenset(
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]
)


def check(store: Store, attempt: Attempt) -> None:
    """Refuse a pod that its namespace may not run."""
    if attempt.kind.key != ("", "pods") or attempt.subresource or attempt.object is None:
        return
    namespace = store.get(("", "namespaces"), ("", attempt.namespace))
    labels = (namespace.object["metadata"].get("labels") or {}) if namespace else {}
    level = labels.get(LABEL, "privileged")
    faults = list(violations(attempt.object.get("spec") or {}, level))
    if faults:
        version = labels.get(f"{LABEL}-version", "latest")
        why = f'violates PodSecurity "{level}:{version}": {", ".join(faults)}'
        raise errors.forbidden("", "pods", attempt.name, why)


def violations(spec: Object, level: str) -> Iterator[str]:
    """What a level does not allow, in the words of the admission plugin."""
    if level not in {"baseline", "restricted"}:
        return
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    yield from _shared(spec, containers)
    if level == "baseline":
        if any(set(_added(each)) - HARMLESS for each in containers):
            who = _who(containers, lambda each: set(_added(each)) - HARMLESS)
            yield f"non-default capabilities ({who} must not add them)"
        return
    yield from _restricted(spec, containers)


def _context(container: Object) -> Object:
    found: Object = container.get("securityContext") or {}
    return found


def _added(container: Object) -> list[str]:
    found: list[str] = (_context(container).get("capabilities") or {}).get("add") or []
    return found


def _who(containers: list[Object], chosen: Any) -> str:
    names = [f'"{each["name"]}"' for each in containers if chosen(each)]
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _shared(spec: Object, containers: list[Object]) -> Iterator[str]:
    hosts = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if hosts:
        yield f"host namespaces ({', '.join(hosts)})"
    if any(_context(each).get("privileged") for each in containers):
        who = _who(containers, lambda each: _context(each).get("privileged"))
        yield f"privileged ({who} must not set securityContext.privileged=true)"
    if names := [f'"{each["name"]}"' for each in spec.get("volumes") or [] if "hostPath" in each]:
        yield f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {', '.join(names)})"
    if any(port.get("hostPort") for each in containers for port in each.get("ports") or []):
        who = _who(containers, lambda each: any(port.get("hostPort") for port in each.get("ports") or []))
        yield f"hostPort ({who} uses a hostPort)"


def _restricted(spec: Object, containers: list[Object]) -> Iterator[str]:
    def open_to_more(each: Object) -> bool:
        return _context(each).get("allowPrivilegeEscalation") is not False

    def unrestricted(each: Object) -> bool:
        dropped = (_context(each).get("capabilities") or {}).get("drop") or []
        return "ALL" not in dropped or bool(set(_added(each)) - {"NET_BIND_SERVICE"})

    pod = spec.get("securityContext") or {}

    def may_be_root(each: Object) -> bool:
        return _context(each).get("runAsNonRoot", pod.get("runAsNonRoot")) is not True

    def is_root(each: Object) -> bool:
        return _context(each).get("runAsUser", pod.get("runAsUser")) == 0

    def unfiltered(each: Object) -> bool:
        profile = _context(each).get("seccompProfile") or pod.get("seccompProfile") or {}
        return profile.get("type") not in {"RuntimeDefault", "Localhost"}

    for test, name, rule in (
        (open_to_more, "allowPrivilegeEscalation != false", "must set securityContext.allowPrivilegeEscalation=false"),
        (unrestricted, "unrestricted capabilities", 'must set securityContext.capabilities.drop=["ALL"]'),
        (may_be_root, "runAsNonRoot != true", "must set securityContext.runAsNonRoot=true"),
        (is_root, "runAsUser=0", "must not set runAsUser=0"),
        (
            unfiltered,
            "seccompProfile",
            'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
        ),
    ):
        if any(test(each) for each in containers):
            yield f"{name} ({_who(containers, test)} {rule})"
    odd = [each["name"] for each in spec.get("volumes") or [] if not VOLUMES & each.keys()]
    if odd:
        yield f"restricted volume types (volume {', '.join(odd)})"
