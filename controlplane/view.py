"""What people are shown, as plain JSON values: Problems, proxies, snapshots."""

from __future__ import annotations

import dataclasses
from typing import Any

from controlplane.status import Status
from kube.problem import Problem
from xds.readable import readable
from xds.resource import TYPES
from xds.server import ProxyStatus
from xds.snapshot import Snapshot


def readiness_view(status: Status) -> dict[str, Any]:
    """Whether proxies are served, and what that rests on.

    From an API server, `waiting` are the kinds that must be read before anything is served, `stale_since` is since
    when the answers may be older than the cluster, and `troubles` says why, by kind.
    """
    found = {"ready": status.ready, "rounds": status.rounds, "failures": status.failures, "failure": status.failure}
    if status.upstream is None:
        return found
    since = status.upstream.stale_since
    return {
        **found,
        "waiting": list(status.upstream.waiting),
        "stale_since": since.isoformat() if since else None,
        "troubles": status.upstream.troubles,
    }


def problem_view(problem: Problem) -> dict[str, Any]:
    """One Problem with its object, field, place and rule."""
    return {
        "severity": str(problem.severity),
        "kind": problem.object.kind,
        "namespace": problem.object.namespace,
        "name": problem.object.name,
        "field": problem.field,
        "message": problem.message,
        "rule": problem.rule,
        "file": problem.origin.file if problem.origin else None,
        "line": problem.origin.line if problem.origin else None,
    }


def proxy_view(proxy: ProxyStatus) -> dict[str, Any]:
    """One connected proxy with the state of each resource type."""
    return dataclasses.asdict(proxy)


def type_name(type_url: str) -> str:
    """The short name of a resource type, as people say it, such as `Cluster`."""
    return type_url.rsplit(".", 1)[-1]


def snapshot_view(snapshot: Snapshot, types: tuple[str, ...] = TYPES) -> dict[str, Any]:
    """Everything a role is sent, by type and name, in the order it is sent. Secrets of the identity are not in it."""
    return {
        type_name(type_url): {
            name: {"version": resource.version, "resource": readable(resource)}
            for name, resource in sorted(snapshot.resources.get(type_url, {}).items())
        }
        for type_url in types
        if snapshot.resources.get(type_url)
    }
