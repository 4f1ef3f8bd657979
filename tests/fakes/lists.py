"""How lists of built-in kinds merge: by keys, as sets, or whole. Rule: what is not in the table is replaced whole.

Source: the `patchMergeKey`, `listType` and `listMapKey` marks of Kubernetes' API reference. A path begins with the
Kind and has no indices; the table is keyed by the last two names, which tell these lists apart
wherever a pod template stands.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.kinds import words

# (parent, list) -> merge key of strategic merge patch; an empty one means a set of plain values
STRATEGIC: dict[tuple[str, str], str] = {
    ("metadata", "ownerReferences"): "uid",
    ("metadata", "finalizers"): "",
    ("spec", "containers"): "name",
    ("spec", "initContainers"): "name",
    ("spec", "ephemeralContainers"): "name",
    ("spec", "volumes"): "name",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "hostAliases"): "ip",
    ("spec", "topologySpreadConstraints"): "topologyKey",
    ("spec", "resourceClaims"): "name",
    ("*ontainers", "env"): "name",
    ("*ontainers", "ports"): "containerPort",
    ("*ontainers", "volumeMounts"): "mountPath",
    ("*ontainers", "volumeDevices"): "devicePath",
    ("Service.spec", "ports"): "port",
    ("ServiceAccount", "secrets"): "name",
    ("ServiceAccount", "imagePullSecrets"): "name",
    ("status", "conditions"): "type",
    ("status", "podIPs"): "ip",
    ("status", "addresses"): "type",
    ("spec", "taints"): "key",
    ("Node.spec", "podCIDRs"): "",
    ("*Configuration", "webhooks"): "name",
}  # fmt: skip

# (parent, list) -> keys of server-side apply; an empty tuple means a set
APPLIED: dict[tuple[str, str], tuple[str, ...]] = {
    **{path: (key,) if key else () for path, key in STRATEGIC.items() if path[1] not in {"ports", "taints"}},
    ("*ontainers", "ports"): ("containerPort", "protocol"),
    ("Service.spec", "ports"): ("port", "protocol"),
    ("spec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("spec", "taints"): ("key", "effect"),
    ("ports", "ports"): ("port", "protocol"),
}

# Maps and structs of built-in kinds that are one value to server-side apply.
ATOMIC = words(
    "selector nodeSelector fieldRef resourceFieldRef configMapKeyRef secretKeyRef secretRef roleRef targetRef "
    "involvedObject regarding related namespaceSelector objectSelector podSelector labelSelector"
)

DEFAULTS = {"protocol": "TCP"}


def _found(table: dict[tuple[str, str], Any], path: tuple[str, ...]) -> Any:
    if len(path) < 2:
        return None
    name, parent = path[-1], path[-2]
    names = [parent, f"{path[-3]}.{parent}" if len(path) > 2 else parent]
    if parent.endswith("ontainers"):
        names.append("*ontainers")
    if parent.endswith("Configuration"):
        names.append("*Configuration")
    for each in names:
        if (each, name) in table:
            return table[each, name]
    return None


def patch_merge_key(path: tuple[str, ...]) -> str | None:
    """The key strategic merge patch merges the list at `path` by; None: the list is replaced."""
    found: str | None = _found(STRATEGIC, path)
    return found


def apply_keys(path: tuple[str, ...]) -> tuple[str, ...] | None:
    """The keys server-side apply tells the list's items apart by; None: the list is one value."""
    found: tuple[str, ...] | None = _found(APPLIED, path)
    return found
