"""A pod's status as its node writes it: phases, conditions, containers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.history import ContainerReport, History, PodReport, Runs
from local.kubelet.status import Scene, began, failed, pod_status

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "initContainers": [
            {"name": "redirect", "image": "r"},
            {"name": "proxy", "image": "p", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "app", "image": "a"}],
    },
}


def runs(*codes: int | None) -> Runs:
    """A container that ended with each of these codes; None: it still runs."""
    history = History()
    for code in codes:
        history.began("one", NOW)
        if code is not None:
            history.ended("one", NOW, code)
    return history.of("one")


def report(phase: str = "Running", **changed: ContainerReport) -> PodReport:
    """A pod that runs and is ready, but for what is changed."""
    up = ContainerReport(runs(None), started=True, ready=True)
    containers = {"redirect": ContainerReport(runs(0)), "proxy": up, "app": up, **changed}
    return PodReport(phase, "10.244.0.2", True, "", containers)


def status(found: PodReport, pod: dict[str, Any] = POD, **scene: Any) -> dict[str, Any]:
    return pod_status(pod, found, Scene("10.244.0.1", **{"now": NOW, **scene}))


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in found["conditions"]}


def container(found: dict[str, Any], name: str) -> dict[str, Any]:
    every = (*found["initContainerStatuses"], *found["containerStatuses"])
    return next(each for each in every if each["name"] == name)


def test_a_pod_whose_containers_are_ready_is_ready() -> None:
    found = status(report())
    assert found["phase"] == "Running"
    assert set(conditions(found).values()) == {"True"}
    assert container(found, "app")["state"] == {"running": {"startedAt": "2026-11-21T12:00:00Z"}}
    assert container(found, "redirect")["ready"] is True
    assert found["podIPs"] == [{"ip": "10.244.0.2"}, {"$patch": "replace"}]


def test_a_container_that_is_not_ready_keeps_the_pod_from_it_and_is_named() -> None:
    found = status(report(app=ContainerReport(runs(None), started=True)))
    assert conditions(found)["Initialized"] == "True"
    assert conditions(found)["Ready"] == conditions(found)["ContainersReady"] == "False"
    assert found["conditions"][-1]["message"] == "containers with unready status: ['app']"


def test_a_pod_is_initialized_once_its_sidecar_has_started() -> None:
    waiting = report("Pending", proxy=ContainerReport(runs(None)), app=ContainerReport())
    assert conditions(status(waiting))["Initialized"] == "False"
    assert container(status(waiting), "app")["state"]["waiting"]["reason"] == "PodInitializing"


def test_what_a_pod_waits_for_is_said() -> None:
    found = status(PodReport(waiting="ConfigMap shop/absent does not exist"))
    state = container(found, "app")["state"]["waiting"]
    assert state == {"reason": "CreateContainerConfigError", "message": "ConfigMap shop/absent does not exist"}
    assert "podIP" not in found


def test_what_can_not_run_here_says_why() -> None:
    found = status(PodReport(), refusal="spec.containers[0].command: there is none")
    assert (found["phase"], container(found, "app")["state"]["waiting"]["reason"]) == ("Pending", "CannotRunHere")
    assert found["conditions"][-1]["message"] == "spec.containers[0].command: there is none"


def test_its_end_is_told_once_the_sidecar_has_ended_too() -> None:
    ended = ContainerReport(runs(0))
    assert status(report("Succeeded", app=ended))["phase"] == "Running"
    found = status(report("Succeeded", app=ended, proxy=ContainerReport(runs(0))))
    assert found["phase"] == "Succeeded"
    assert container(found, "app")["ready"] is False
    assert {each["reason"] for each in found["conditions"][-2:]} == {"PodCompleted"}


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (3, 3), (-15, 143)])
def test_a_signal_is_shown_as_shells_do(code: int, shown: int) -> None:
    state = container(status(report(app=ContainerReport(runs(code)))), "app")["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (shown, "Error" if shown else "Completed")


def test_restarts_are_counted_over_lives() -> None:
    found = container(status(report(app=ContainerReport(runs(2, None))), earlier={"app": 3}), "app")
    assert found["restartCount"] == 4
    assert found["lastState"]["terminated"]["exitCode"] == 2
    assert began({"containerStatuses": [found]}) == {"app": 5}
    assert began({"containerStatuses": [{"name": "app", "restartCount": 0, "state": {"waiting": {}}}]}) == {"app": 0}


def test_a_pod_that_was_deleted_has_succeeded_only_if_all_its_apps_ended_well() -> None:
    assert status(report(app=ContainerReport(runs(0))), over=True)["phase"] == "Succeeded"
    assert status(report(app=ContainerReport(runs(-9))), over=True)["phase"] == "Failed"
    killed = status(report(), over=True)
    assert (killed["phase"], container(killed, "app")["state"]["terminated"]["exitCode"]) == ("Failed", 137)
    assert conditions(killed)["Ready"] == "False"


def test_a_condition_keeps_its_time_until_it_says_something_else() -> None:
    former = status(report())
    same = status(report(), now=LATER, former=former)
    assert same == former
    other = status(report(app=ContainerReport(runs(None), started=True)), now=LATER, former=former)
    since = {each["type"]: each["lastTransitionTime"] for each in other["conditions"]}
    assert (since["Initialized"], since["Ready"]) == ("2026-11-21T12:00:00Z", "2026-11-21T12:01:00Z")


def test_a_readiness_gate_that_is_not_true_keeps_a_pod_from_being_ready() -> None:
    gate = {"conditionType": "example.com/in"}
    pod = {**POD, "spec": {**POD["spec"], "readinessGates": [gate]}}
    found = status(report(), pod)
    assert (conditions(found)["ContainersReady"], conditions(found)["Ready"]) == ("True", "False")
    opened = {**pod, "status": {"conditions": [{"type": "example.com/in", "status": "True"}]}}
    assert conditions(status(report(), opened))["Ready"] == "True"


def test_a_pod_whose_node_ended_under_it_has_failed() -> None:
    found = failed(POD, "NodeRestarted", "why", Scene("10.244.0.1", NOW, over=True))
    assert (found["phase"], found["reason"], conditions(found)["Ready"]) == ("Failed", "NodeRestarted", "False")
