"""What the server says it serves. Rule: every answer is made from Kinds, so a CRD shows at once.

Source: Kubernetes page "The Kubernetes API" (discovery, aggregated discovery), apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.fakes import openapi
from tests.fakes.kinds import Kind
from tests.fakes.requests import Reply, Request

if TYPE_CHECKING:
    from tests.fakes.api import Api

Object = dict[str, Any]

# Subresources whose body is of another kind, and what can be done with them.
OTHERS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
}


class Discovery:
    """Answers /api, /apis, /version and what is below them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def answer(self, request: Request) -> Reply | None:
        """The answer to a discovery path; None for another path."""
        if documented := openapi.answer(self._api, request.path):
            return documented
        accept = request.headers.get("accept", "")
        match request.path.strip("/").split("/"):
            case ["version"]:
                return Reply.json(version(self._api.version))
            case ["api" | "apis" as root] if "as=APIGroupDiscoveryList" in accept and "v=v2" in accept:
                return self._aggregated(core=root == "api")
            case ["api", *below]:
                return self._core(below)
            case ["apis", *below]:
                return self._named(below)
        return None

    def _core(self, below: list[str]) -> Reply | None:
        if not below:
            return Reply.json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        return self._resources("", below[0]) if len(below) == 1 else None

    def _named(self, below: list[str]) -> Reply | None:
        match below:
            case []:
                groups = [self._group(name) for name in self._groups() if name] + self._api.aggregation.groups()
                return Reply.json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            case [group] if group in self._groups():
                return Reply.json({"kind": "APIGroup", "apiVersion": "v1", **self._group(group)})
            case [group] if elsewhere := [each for each in self._api.aggregation.groups() if each["name"] == group]:
                return Reply.json({"kind": "APIGroup", "apiVersion": "v1", **elsewhere[0]})
            case [group, name]:
                return self._resources(group, name)
        return None

    def _groups(self) -> list[str]:
        return list(dict.fromkeys(each.group for each in self._api.kinds))

    def _versions(self, group: str) -> list[str]:
        found = {each.version for each in self._api.kinds if each.group == group}
        return sorted(found, key=priority)

    def _group(self, group: str) -> Object:
        versions = [{"groupVersion": f"{group}/{each}", "version": each} for each in self._versions(group)]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _of(self, group: str, name: str) -> list[Kind]:
        return sorted((each for each in self._api.kinds if (each.group, each.version) == (group, name)), key=_plural)

    def _resources(self, group: str, name: str) -> Reply | None:
        kinds = self._of(group, name)
        if not kinds:
            return None
        resources = [line for kind in kinds for line in _lines(kind)]
        group_version = f"{group}/{name}" if group else name
        head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version}
        return Reply.json({**head, "resources": resources})

    def _aggregated(self, *, core: bool) -> Reply:
        items = []
        for group in self._groups():
            if core is bool(group):
                continue
            versions = [
                {"version": name, "resources": [_entry(each) for each in self._of(group, name)], "freshness": "Current"}
                for name in self._versions(group)
            ]
            metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            items.append({"metadata": metadata, "versions": versions})
        head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
        reply = Reply.json({**head, "items": items})
        reply.content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return reply


def _plural(kind: Kind) -> str:
    return kind.plural


def priority(name: str) -> tuple[int, int, int, str]:
    """The order of versions: v2, v1, v2beta1, v1beta2, v1alpha1, then others by name."""
    import re  # noqa: PLC0415 - used here only

    found = re.match(r"^v(\d+)(?:(alpha|beta)(\d+))?$", name)
    if not found:
        return (3, 0, 0, name)
    major, stage, minor = found.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), "")


def _lines(kind: Kind) -> Iterable[Object]:
    line: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        line["shortNames"] = list(kind.short_names)
    if kind.categories:
        line["categories"] = list(kind.categories)
    yield line
    for each in kind.subresources:
        group, name, body, verbs = OTHERS.get(each, ("", "", kind.kind, _verbs(each)))
        below: Object = {
            "name": f"{kind.plural}/{each}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": body,
            "verbs": list(verbs),
        }
        if each in OTHERS:
            below |= {"group": group, "version": name} if group else {}
        yield below


def _verbs(subresource: str) -> tuple[str, ...]:
    return ("update",) if subresource == "finalize" else ("get", "patch", "update")


def _entry(kind: Kind) -> Object:
    """One resource in aggregated discovery."""
    line, *below = _lines(kind)
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": line["verbs"],
    }
    for name in ("shortNames", "categories"):
        if name in line:
            entry[name] = line[name]
    if below:
        entry["subresources"] = [
            {
                "subresource": each["name"].partition("/")[2],
                "responseKind": {
                    "group": each.get("group", kind.group), "version": each.get("version", kind.version),
                    "kind": each["kind"],
                },
                "verbs": each["verbs"],
            }
            for each in below
        ]  # fmt: skip
    return entry


def version(name: str) -> Object:
    """The answer to /version for `1.34.2`."""
    major, minor, *_ = name.split(".")
    return {"major": major, "minor": minor, "gitVersion": f"v{name}", "platform": "linux/amd64", "compiler": "gc"}
