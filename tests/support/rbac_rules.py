"""Roles as sets of single rights, to compare what is granted with what is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Right(NamedTuple):
    """One verb on one resource; `name` empty means any, `namespaced` that it holds in the release's namespace only."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespaced: bool = False


def granted(documents: Iterable[dict[str, Any]], account: str) -> set[Right]:
    """What the roles of this name grant."""
    return {
        Right(verb, group, resource, name, role["kind"] == "Role")
        for role in documents
        if role["kind"] in {"ClusterRole", "Role"} and role["metadata"]["name"] == account
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
    }


def on(verbs: str, group: str, resources: str, names: str = "", *, namespaced: bool = False) -> Iterator[Right]:
    """The rights of every verb on every resource and name, each a list of words."""
    for verb in verbs.split():
        for resource in resources.split():
            for name in names.split() or [""]:
                yield Right(verb, group, resource, name, namespaced)
