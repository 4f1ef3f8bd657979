"""What is started and stopped next."""

from __future__ import annotations

from pathlib import Path

from kube.objects import Meta
from kube.problem import Ref
from local.podspec import PodDocument, PodSpec
from local.rollout import Running, Step, next_step
from local.workloads import PodKey, PodPlan


def plan(name: str, revision: str, ordinal: int, *, parallel: bool = True, owner: str = "web") -> PodPlan:
    pod = PodDocument(PodSpec(containers=()), Meta(name=name))
    return PodPlan(
        PodKey("a", name), Ref("Deployment", "a", owner), revision, ordinal, {}, pod, Path("/"), parallel=parallel
    )


def deployment(revision: str, replicas: int) -> list[PodPlan]:
    return [plan(f"web-{revision}-{ordinal}", revision, ordinal) for ordinal in range(replicas)]


def stateful(revision: str, replicas: int) -> list[PodPlan]:
    return [plan(f"db-{ordinal}", revision + str(ordinal), ordinal, parallel=False) for ordinal in range(replicas)]


def names(step: Step) -> tuple[list[str], list[str]]:
    return sorted(item.key.name for item in step.start), sorted(key.name for key in step.stop)


def test_everything_is_started_at_once() -> None:
    assert names(next_step(deployment("1", 3), [])) == (["web-1-0", "web-1-1", "web-1-2"], [])


def test_nothing_happens_when_what_runs_is_what_should() -> None:
    assert next_step(deployment("1", 2), [Running(item, ready=False) for item in deployment("1", 2)]) == Step()


def test_scaling_down_stops_the_last() -> None:
    running = [Running(item, ready=True) for item in deployment("1", 3)]
    assert names(next_step(deployment("1", 1), running)) == ([], ["web-1-1", "web-1-2"])


def test_a_removed_workload_is_stopped_and_others_stay() -> None:
    other = plan("other", "1", 0, owner="other")
    running = [Running(item, ready=True) for item in (*deployment("1", 2), other)]
    assert names(next_step([other], running)) == ([], ["web-1-0", "web-1-1"])


def test_old_pods_go_one_for_each_new_one_that_is_ready() -> None:
    old = [Running(item, ready=True) for item in deployment("1", 3)]
    none_ready = [Running(item, ready=False) for item in deployment("2", 3)]
    assert names(next_step(deployment("2", 3), old)) == (["web-2-0", "web-2-1", "web-2-2"], [])
    assert next_step(deployment("2", 3), [*old, *none_ready]) == Step()
    one_ready = [Running(item, ready=item.ordinal == 0) for item in deployment("2", 3)]
    assert names(next_step(deployment("2", 3), [*old, *one_ready])) == ([], ["web-1-2"])
    all_ready = [Running(item, ready=True) for item in deployment("2", 3)]
    assert names(next_step(deployment("2", 3), [*old, *all_ready]))[1] == ["web-1-0", "web-1-1", "web-1-2"]


def test_an_old_pod_that_is_not_ready_goes_first() -> None:
    old = [Running(item, ready=item.ordinal != 0) for item in deployment("1", 2)]
    new = [Running(item, ready=item.ordinal == 0) for item in deployment("2", 2)]
    assert names(next_step(deployment("2", 2), [*old, *new])) == ([], ["web-1-0"])


def test_stateful_pods_start_in_order() -> None:
    wanted = stateful("1", 3)
    assert names(next_step(wanted, [])) == (["db-0"], [])
    assert names(next_step(wanted, [Running(wanted[0], ready=False)])) == ([], [])
    assert names(next_step(wanted, [Running(wanted[0], ready=True)])) == (["db-1"], [])


def test_stateful_pods_are_replaced_one_at_a_time_from_the_last() -> None:
    old = [Running(item, ready=True) for item in stateful("1", 3)]
    wanted = stateful("2", 3)
    assert names(next_step(wanted, old)) == ([], ["db-2"])
    going = [*old[:2], Running(old[2].plan, ready=False, stopping=True)]
    assert next_step(wanted, going) == Step()
    coming = [*old[:2], Running(wanted[2], ready=False)]
    assert next_step(wanted, coming) == Step()
    assert names(next_step(wanted, [*old[:2], Running(wanted[2], ready=True)])) == ([], ["db-1"])


def test_a_name_is_not_used_while_its_last_owner_is_ending() -> None:
    pod = plan("solo", "2", 0)
    ending = Running(plan("solo", "1", 0), ready=False, stopping=True)
    assert next_step([pod], [ending]) == Step()
    assert names(next_step([pod], [])) == (["solo"], [])
