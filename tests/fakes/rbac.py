"""Role based access control. Rule: what no rule grants is refused; system:masters may do everything.

Source: Kubernetes page "Using RBAC Authorization", kubernetes/plugin/pkg/auth/authorizer/rbac.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes import selectors
from tests.fakes.hooks import User
from tests.fakes.storage import Object

if TYPE_CHECKING:
    from tests.fakes.api import Api

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"


@dataclass(frozen=True)
class Asked:
    """What is asked: a resource, or a path when `path` is set."""

    verb: str
    group: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def resource(self) -> str:
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


class Authorizer:
    """Answers from the Roles, ClusterRoles and bindings in the store."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def allows(self, user: User, asked: Asked) -> bool:
        if MASTERS in user.groups:
            return True
        return any(_grants(rule, asked) for rule in self._rules(user, asked.namespace))

    def rules(self, user: User, namespace: str) -> list[Object]:
        """The rules that grant a user something in a namespace."""
        return list(self._rules(user, namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        for each in self._api.store.all((GROUP, "clusterrolebindings")):
            if _binds(each.object, user, ""):
                yield from self._role("ClusterRole", each.object["roleRef"]["name"], "")
        if not namespace:
            return
        for each in self._api.store.all((GROUP, "rolebindings"), namespace):
            if _binds(each.object, user, namespace):
                ref = each.object["roleRef"]
                yield from self._role(ref["kind"], ref["name"], namespace)

    def _role(self, kind: str, name: str, namespace: str) -> Iterator[Object]:
        place = ("clusterroles", "") if kind == "ClusterRole" else ("roles", namespace)
        role = self._api.store.get((GROUP, place[0]), (place[1], name))
        if role is None:
            return
        yield from role.object.get("rules") or []
        for selector in (role.object.get("aggregationRule") or {}).get("clusterRoleSelectors", []):
            chosen = selectors.of_selector(selector)
            for each in self._api.store.all((GROUP, "clusterroles")):
                if chosen(each.object["metadata"].get("labels") or {}):
                    yield from each.object.get("rules") or []


def _binds(binding: Object, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or []:
        match subject["kind"]:
            case "User" if subject["name"] == user.name:
                return True
            case "Group" if subject["name"] in user.groups:
                return True
            case "ServiceAccount":
                where = subject.get("namespace") or namespace
                if user.name == f"system:serviceaccount:{where}:{subject['name']}":
                    return True
    return False


def _grants(rule: Object, asked: Asked) -> bool:
    verbs = rule.get("verbs") or []
    if asked.verb not in verbs and "*" not in verbs:
        return False
    if asked.path:
        return any(_path_matches(each, asked.path) for each in rule.get("nonResourceURLs") or [])
    groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
    names = rule.get("resourceNames") or []
    return (
        (asked.group in groups or "*" in groups)
        and any(_resource_matches(each, asked) for each in resources)
        and (not names or asked.name in names)
    )


def _resource_matches(each: str, asked: Asked) -> bool:
    if each in {"*", asked.resource}:
        return True
    return bool(asked.subresource) and each == f"*/{asked.subresource}"


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path
