"""Snapshots as one bootstrap document with nothing left to fetch, which `envoy --mode validate` reads whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from proxy.bootstrap import runtime
from sidecars import envoy_binary
from xds.readable import decode
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from xds.snapshot import Snapshot


@dataclass(frozen=True)
class Held:
    """What one sidecar has: its Snapshot and its secrets. `label` says whose it is."""

    label: str
    snapshot: Snapshot
    secrets: Sequence[Resource]


def refused_by_envoy(all_held: Iterable[Held], folder: Path) -> str:
    """What Envoy says against any of the Snapshots, in one run; empty if it accepts all. Its words name the labels."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(union_bootstrap(all_held)))
    command = [str(envoy_binary()), "-c", str(path), "--mode", "validate", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stderr + done.stdout


def static_bootstrap(snapshot: Snapshot, secrets: Iterable[Resource]) -> dict[str, Any]:
    """The document. References by RDS, EDS, SDS and ECDS are replaced by what they refer to, or fail as KeyError."""
    known = {kind: {name: _plain(made) for name, made in named.items()} for kind, named in snapshot.resources.items()}
    known[SECRET] = {**known[SECRET], **{secret.name: _plain(secret) for secret in secrets}}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": runtime(),
        "static_resources": {
            "listeners": [_resolved(listener, known) for listener in known[LISTENER].values()],
            "clusters": [_resolved(_with_endpoints(cluster, known), known) for cluster in known[CLUSTER].values()],
            "secrets": list(known[SECRET].values()),
        },
    }


def union_bootstrap(all_held: Iterable[Held]) -> dict[str, Any]:
    """One document with everything that any of them has, each different thing once.

    Where things of two Snapshots have the same name or address, the later one gets another name, with its label, or
    another port. Inside each Snapshot both are unique already, or this fails.
    """
    union = _Union()
    for held in all_held:
        own = static_bootstrap(held.snapshot, held.secrets)["static_resources"]
        addresses = [json.dumps(place) for listener in own["listeners"] for place in _places(listener)]
        assert len(addresses) == len(set(addresses)), f"{held.label} has two listeners at one address"
        for kind in union.resources:
            for made in own[kind]:
                union.add(kind, made, held.label)
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": runtime(),
        "static_resources": {kind: list(known.values()) for kind, known in union.resources.items()},
    }


class _Union:
    """The resources so far, by kind and name."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {"listeners": {}, "clusters": {}, "secrets": {}}
        self._seen: set[str] = set()
        self._taken: set[str] = set()
        self._ports = count(20000)

    def add(self, kind: str, made: Any, label: str) -> None:
        text = json.dumps([kind, made])
        if text in self._seen:
            return
        self._seen.add(text)
        for place in _places(made) if kind == "listeners" else []:
            if json.dumps(place) in self._taken:
                place["port_value"] = next(self._ports)
            self._taken.add(json.dumps(place))
        known = self.resources[kind]
        name = made["name"] if made["name"] not in known else f"{made['name']} of {label}"
        known[name] = {**made, "name": name}


def _places(listener: Any) -> list[Any]:
    addresses = [listener["address"], *(more["address"] for more in listener.get("additional_addresses", []))]
    return [address["socket_address"] for address in addresses]


def _plain(resource: Resource) -> Any:
    return json_format.MessageToDict(decode(resource), preserving_proto_field_name=True)


def _with_endpoints(cluster: Any, known: Any) -> Any:
    if cluster.get("type") != "EDS":
        return cluster
    rest = {field: value for field, value in cluster.items() if field != "eds_cluster_config"}
    return {**rest, "type": "STATIC", "load_assignment": known[ENDPOINTS][cluster["name"]]}


def _resolved(value: Any, known: Any) -> Any:
    if isinstance(value, list):
        return [_resolved(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    value = {field: _resolved(item, known) for field, item in value.items()}
    if "rds" in value:
        value["route_config"] = known[ROUTES][value.pop("rds")["route_config_name"]]
    if "config_discovery" in value:
        return known[EXTENSION][value["name"]]
    if "sds_config" in value:
        assert value["name"] in known[SECRET]
        return {"name": value["name"]}
    return value
