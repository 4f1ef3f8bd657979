"""What to start and what to stop next, so that what runs becomes what should run without a gap.

Rule: pure, and decided anew from the whole state each time. A Deployment's old pods go as new ones become ready; a
StatefulSet is replaced one pod at a time, the highest ordinal first; a name is never used twice at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kube.problem import Ref
from local.workloads import PodKey, PodPlan


@dataclass(frozen=True, slots=True)
class Running:
    """A pod that exists, and how it is."""

    plan: PodPlan
    ready: bool
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now; more may follow once something has changed."""

    start: tuple[PodPlan, ...] = ()
    stop: tuple[PodKey, ...] = ()


def next_step(wanted: Iterable[PodPlan], running: Iterable[Running]) -> Step:
    """The next step of every workload."""
    by_owner: dict[Ref, tuple[list[PodPlan], list[Running]]] = {}
    for plan in wanted:
        by_owner.setdefault(plan.owner, ([], []))[0].append(plan)
    for pod in running:
        by_owner.setdefault(pod.plan.owner, ([], []))[1].append(pod)
    start: list[PodPlan] = []
    stop: list[PodKey] = []
    for plans, pods in by_owner.values():
        start += _start(plans, pods)
        stop += _stop(plans, pods)
    return Step(tuple(start), tuple(stop))


def _start(plans: Sequence[PodPlan], pods: Sequence[Running]) -> Iterator[PodPlan]:
    taken = {pod.plan.key for pod in pods}
    ready = {pod.plan.key for pod in pods if pod.ready and not pod.stopping}
    for plan in plans:
        before = (other.key for other in plans if other.ordinal < plan.ordinal)
        if plan.key not in taken and (plan.parallel or ready.issuperset(before)):
            yield plan


def _stop(plans: Sequence[PodPlan], pods: Sequence[Running]) -> Iterator[PodKey]:
    wanted = {plan.key: plan.revision for plan in plans}
    revisions = set(wanted.values())
    alive = [pod for pod in pods if not pod.stopping]
    stale = [pod for pod in alive if pod.plan.revision not in revisions]
    surplus = [pod for pod in alive if pod.plan.revision in revisions and pod.plan.key not in wanted]
    yield from (pod.plan.key for pod in surplus)
    if not plans:
        yield from (pod.plan.key for pod in stale)
        return
    in_place = [pod for pod in stale if pod.plan.key in wanted]
    beside = [pod for pod in stale if pod.plan.key not in wanted]
    fresh = sum(pod.ready for pod in alive if wanted.get(pod.plan.key) == pod.plan.revision)
    yield from _beside(beside, max(0, len(plans) - fresh))
    yield from _in_place(in_place, settled=fresh + len(in_place) == len(plans))


def _beside(stale: list[Running], still_needed: int) -> Iterator[PodKey]:
    # Those that are not ready help nobody and go first.
    leaving = sorted(stale, key=lambda pod: (pod.ready, -pod.plan.ordinal))[: max(0, len(stale) - still_needed)]
    yield from (pod.plan.key for pod in leaving)


def _in_place(stale: list[Running], *, settled: bool) -> Iterator[PodKey]:
    broken = [pod for pod in stale if not pod.ready]
    if broken:
        yield from (pod.plan.key for pod in broken)
    elif stale and settled:
        yield max(stale, key=lambda pod: pod.plan.ordinal).plan.key
