"""A Snapshot as one bootstrap document with nothing left to fetch, which `envoy --mode validate` reads whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from sidecars import envoy_binary
from xds.readable import decode
from xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from xds.snapshot import Snapshot


def refused_by_envoy(snapshot: Snapshot, secrets: Iterable[Resource], folder: Path) -> str:
    """What Envoy says against the Snapshot; empty if it accepts it."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(static_bootstrap(snapshot, secrets)))
    command = [str(envoy_binary()), "-c", str(path), "--mode", "validate", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stderr + done.stdout


def static_bootstrap(snapshot: Snapshot, secrets: Iterable[Resource]) -> dict[str, Any]:
    """The document. References by RDS, EDS, SDS and ECDS are replaced by what they refer to, or fail as KeyError."""
    known = {kind: {name: _plain(made) for name, made in named.items()} for kind, named in snapshot.resources.items()}
    known[SECRET] = {**known[SECRET], **{secret.name: _plain(secret) for secret in secrets}}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [_resolved(listener, known) for listener in known[LISTENER].values()],
            "clusters": [_resolved(_with_endpoints(cluster, known), known) for cluster in known[CLUSTER].values()],
            "secrets": list(known[SECRET].values()),
        },
    }


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
