"""What a request to the admin API needs, in the words of Kubernetes' RBAC: resources of the group `admin.weft.dev`.

Rule: it is read from the method and the path alone, and every path needs something: a new route is closed until
somebody is granted it. No object of these resources exists; roles name them.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "admin.weft.dev"
METRICS: Final = "/metrics"
"""The one path that is granted as `nonResourceURLs`, as everywhere in Kubernetes."""
READ: Final = frozenset({"GET", "HEAD"})

_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def needed(method: str, path: str) -> dict[str, str]:
    """The attributes of a SubjectAccessReview. `GET /config/shop/web-1` is `get` on `config` `web-1` in `shop`."""
    verb = _VERBS.get(method, "*")
    steps = path.removeprefix("/").split("/")
    if path == METRICS or not all(steps):
        return {"path": path, "verb": verb}
    found = {"group": GROUP, "verb": verb}
    match steps:
        case ["tap"]:
            return {**found, "resource": "tap", "verb": "watch" if verb == "get" else verb}
        case ["config" | "authz" | "verdict" as what, namespace, name]:
            return {**found, "resource": what, "namespace": namespace, "name": name}
        case ["describe", kind, namespace, name]:
            return {**found, "resource": "describe", "subresource": kind, "namespace": namespace, "name": name}
        case [resource]:
            return {**found, "resource": resource}
        case [resource, *rest]:
            return {**found, "resource": resource, "subresource": "/".join(rest)}
    raise AssertionError(steps)
