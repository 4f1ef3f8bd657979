"""Objects of built-in kinds as tests write them. Rule: the least an API server takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from raw_api import STRATEGIC, RawApi

CONTAINER = {"name": "app", "image": "app:1"}


def pod(name: str = "a", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"containers": [CONTAINER], **spec}}


def until(ask: Callable[[], Any]) -> Any:
    """What controllers make follows a moment later."""
    while not (found := ask()):
        time.sleep(0.02)
    return found


def deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def ready(api: RawApi, core: str, name: str, address: str) -> None:
    """Write a pod's status as its kubelet would."""
    now = "2026-01-02T03:04:05Z"
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
    api("PATCH", f"{core}/pods/{name}/status", {"status": status}, content_type=STRATEGIC).expect(200)


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
