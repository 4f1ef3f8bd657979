"""Defaults of pods and pod templates. Rule: a default is filled only where the writer said nothing.

Source: kubernetes/pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.storage import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE: Object = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def fill(thing: Object, **values: Any) -> None:
    """Set what is not set."""
    for name, value in values.items():
        thing.setdefault(name, value)


def pod_spec(spec: Object) -> None:
    """The defaults of a pod, and of a pod template."""
    fill(
        spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst", securityContext={},
        schedulerName="default-scheduler",
    )  # fmt: skip
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for each in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        _container(each)
        if spec.get("hostNetwork"):
            for port in each.get("ports", []):
                fill(port, hostPort=port.get("containerPort"))
    for each in spec.get("volumes", []):
        _volume(each)


def _container(each: Object) -> None:
    image = str(each.get("image", ""))
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    fill(
        each, resources={}, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File",
        imagePullPolicy="Always" if latest and "@" not in image else "IfNotPresent",
    )  # fmt: skip
    requests = each["resources"].get("limits")
    if requests:
        each["resources"]["requests"] = {**requests, **each["resources"].get("requests", {})}
    for port in each.get("ports", []):
        fill(port, protocol="TCP")
    for env in each.get("env", []):
        if "fieldRef" in env.get("valueFrom", {}):
            fill(env["valueFrom"]["fieldRef"], apiVersion="v1")
    for name in PROBES:
        if name in each:
            fill(each[name], **PROBE)
            _handler(each[name])
    for handler in each.get("lifecycle", {}).values():
        if isinstance(handler, dict):
            _handler(handler)


def _handler(probe: Object) -> None:
    if "httpGet" in probe:
        fill(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        fill(probe["grpc"], service="")


def _volume(each: Object) -> None:
    if set(each) == {"name"}:
        each["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if name in each:
            fill(each[name], defaultMode=420)
    for item in each.get("downwardAPI", {}).get("items", []):
        if "fieldRef" in item:
            fill(item["fieldRef"], apiVersion="v1")
    fill(each.get("hostPath", {}), type="")
    for source in each.get("projected", {}).get("sources", []):
        if "serviceAccountToken" in source:
            fill(source["serviceAccountToken"], expirationSeconds=3600)
        for item in source.get("downwardAPI", {}).get("items", []):
            if "fieldRef" in item:
                fill(item["fieldRef"], apiVersion="v1")
