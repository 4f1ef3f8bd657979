"""A pod's status as its node writes it.

Rule: pure. A condition keeps the time of its last change while it says the same; conditions of others are not ours.
Source: Kubernetes page "Pod Lifecycle"; API reference, core/v1 PodStatus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kube.objects import RawDocument
from local.history import ContainerReport, PodReport, Run

ENDED = ("Succeeded", "Failed")
"""Phases that a pod never leaves."""

KILLED = 137
"""The exit code of what was ended by SIGKILL."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the status depends on besides the pod's life.

    `former` is the status before this one, `earlier` how often containers were started in lives before this one.
    `over`: the life is over, so nothing of it runs. `refusal` is why the pod can't run here, or empty.
    """

    node_address: str
    now: datetime
    former: RawDocument = field(default_factory=dict)
    earlier: Mapping[str, int] = field(default_factory=dict)
    over: bool = False
    refusal: str = ""


def pod_status(document: RawDocument, report: PodReport, scene: Scene) -> RawDocument:
    """The status of a pod, as a strategic merge patch of it."""
    spec = document["spec"]
    apps = [_container(document, each, report, scene) for each in spec.get("containers") or ()]
    inits = [_container(document, each, report, scene) for each in spec.get("initContainers") or ()]
    status: RawDocument = {
        "phase": _phase(document, report, scene),
        "hostIP": scene.node_address,
        "hostIPs": [{"ip": scene.node_address}],
        "startTime": scene.former.get("startTime") or timestamp(scene.now),
        "containerStatuses": apps,
    }
    if inits:
        status["initContainerStatuses"] = inits
    if report.networked:
        # Addresses merge by themselves; a pod whose life begins anew has another one.
        status |= {"podIP": report.address, "podIPs": [{"ip": report.address}, {"$patch": "replace"}]}
    status["conditions"] = _conditions(document, report, scene, status)
    return status


def failed(document: RawDocument, reason: str, message: str, scene: Scene) -> RawDocument:
    """The status of a pod that is over without having ended by itself."""
    status = pod_status(document, PodReport(), scene)
    return {
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "startTime": status["startTime"],
        "conditions": status["conditions"],
    }


def timestamp(moment: datetime) -> str:
    """A metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def began(status: RawDocument) -> dict[str, int]:
    """How often each container was started, as a status tells it."""
    listed = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return {each["name"]: int(each.get("restartCount") or 0) + _has_run(each) for each in listed}


def _has_run(container: RawDocument) -> bool:
    states = (container.get("state") or {}, container.get("lastState") or {})
    return any("running" in state or "terminated" in state for state in states)


def _phase(document: RawDocument, report: PodReport, scene: Scene) -> str:
    if not scene.over:
        # Its end is told once its sidecars have ended too.
        lasting = report.phase in ENDED and any(each.runs.running for each in report.containers.values())
        return "Running" if lasting else report.phase
    if report.phase in ENDED:
        return report.phase
    apps = [_report(report, each["name"]).runs.last for each in document["spec"].get("containers") or ()]
    return "Succeeded" if apps and all(run is not None and run.code == 0 for run in apps) else "Failed"


def _container(document: RawDocument, container: RawDocument, report: PodReport, scene: Scene) -> RawDocument:
    found = _report(report, container["name"])
    status: RawDocument = {
        "name": container["name"],
        "image": container.get("image") or "",
        "imageID": "",
        "ready": _is_ready(container, found, scene, document),
        "started": found.started and not scene.over,
        "restartCount": max(0, found.runs.count - 1 + scene.earlier.get(container["name"], 0)),
        "state": _state(found.runs.last, report, scene),
    }
    if found.runs.before is not None:
        status["lastState"] = _terminated(found.runs.before, scene)
    return status


def _is_ready(container: RawDocument, found: ContainerReport, scene: Scene, document: RawDocument) -> bool:
    """For an init container that ends: whether it has done its work."""
    last = found.runs.last
    if container in document["spec"]["containers"] or _is_sidecar(container):
        return found.ready and not scene.over
    return last is not None and last.code == 0


def _state(last: Run | None, report: PodReport, scene: Scene) -> RawDocument:
    if last is not None:
        over = scene.over or last.ended is not None
        return _terminated(last, scene) if over else {"running": {"startedAt": timestamp(last.began)}}
    if scene.refusal:
        return {"waiting": {"reason": "CannotRunHere", "message": scene.refusal}}
    message = {"message": report.waiting} if report.waiting else {}
    reason = "CreateContainerConfigError" if report.waiting else "PodInitializing"
    return {"waiting": {"reason": reason, **message}}


def _terminated(run: Run, scene: Scene) -> RawDocument:
    code = KILLED if run.code is None else 128 - run.code if run.code < 0 else run.code
    return {
        "terminated": {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": timestamp(run.began),
            "finishedAt": timestamp(run.ended or scene.now),
        }
    }


def _conditions(document: RawDocument, report: PodReport, scene: Scene, status: RawDocument) -> list[RawDocument]:
    spec = document["spec"]
    initialized = all(_is_through(each, report) for each in spec.get("initContainers") or ())
    lasting = [*spec.get("containers", ()), *(c for c in spec.get("initContainers") or () if _is_sidecar(c))]
    unready = [each["name"] for each in lasting if not _report(report, each["name"]).ready]
    ended = status["phase"] in ENDED
    containers = not unready and not scene.over and not ended
    held = list(_closed_gates(document))
    why = "PodCompleted" if ended else "ContainersNotReady"
    told = scene.refusal or report.waiting or (f"containers with unready status: {unready}" if unready else "")
    alive = report.networked and not scene.over
    wanted = (
        ("PodScheduled", True, "", ""),
        ("PodReadyToStartContainers", alive, "", ""),
        ("Initialized", initialized, "" if initialized else "ContainersNotInitialized", ""),
        ("ContainersReady", containers, "" if containers else why, "" if containers else told),
        ("Ready", containers and not held, _reason(containers, held, why), _message(containers, held, told)),
    )
    return [_condition(scene, *each) for each in wanted]


def _reason(containers: bool, held: list[str], why: str) -> str:
    return why if not containers else "ReadinessGatesNotReady" if held else ""


def _message(containers: bool, held: list[str], told: str) -> str:
    return told if not containers else f"the conditions {held} are not true" if held else ""


def _condition(scene: Scene, kind: str, holds: bool, reason: str, message: str) -> RawDocument:
    former = _named(scene.former.get("conditions") or (), kind)
    status = "True" if holds else "False"
    same = former is not None and former.get("status") == status
    since = former.get("lastTransitionTime") if former is not None and same else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or timestamp(scene.now),
    }


def _closed_gates(document: RawDocument) -> Iterable[str]:
    """Readiness gates whose condition, somebody else's, is not true."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    for gate in document["spec"].get("readinessGates") or ():
        found = _named(conditions, gate["conditionType"])
        if found is None or found.get("status") != "True":
            yield gate["conditionType"]


def _named(conditions: Iterable[RawDocument], kind: str) -> RawDocument | None:
    return next((each for each in conditions if each.get("type") == kind), None)


def _is_through(container: RawDocument, report: PodReport) -> bool:
    found = _report(report, container["name"])
    if _is_sidecar(container):
        return found.started or found.runs.count > 1
    return found.runs.last is not None and found.runs.last.code == 0


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _report(report: PodReport, name: str) -> ContainerReport:
    return report.containers.get(name, ContainerReport())
