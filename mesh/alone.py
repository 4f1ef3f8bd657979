"""What one object gets wrong by itself, and what it lacks in the cluster: for whoever is asked about a single object.

Rule: the functions that judge an object in the mesh judge it here too. A mistake of its own is one that no other object
could mend; it is found by giving the object everything it refers to, just as it wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from kube.objects import Namespace, Pod, Service
from kube.problem import Problem, Severity
from mesh.bindings import BindingInput, Bound, bind
from mesh.egress import PolicyInput, permit
from mesh.exports import read_exports
from mesh.lookup import KINDS, Absent, Found
from mesh.model import Identity, ServiceId
from mesh.modes import Annotated, namespace_modes, pod_modes
from mesh.names import Misnamed, service_named
from mesh.settings import Egress, MeshSettings
from mesh.splits import Split, SplitInput, read_split
from mesh.subjects import BINDING, Bindings
from mesh.targets import TargetInput, decide
from smi.kinds import (
    EgressPolicy,
    HttpMatch,
    HTTPRouteGroup,
    IdentityBinding,
    RuleRef,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    UDPRoute,
)
from smi.resources import Anything

T = TypeVar("T", bound=Anything)


class UnseenError(Exception):
    """Whether an object is there can't be told just now."""


class Cluster(Protocol):
    """A look at the objects that are there now. `smi.resources.Resources` is one."""

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object, or None where it is not there. Raises UnseenError."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`mistakes` are the object's own; `lacks` are about what it refers to, and may mend themselves."""

    mistakes: tuple[Problem, ...] = ()
    lacks: tuple[Problem, ...] = ()


def judge(item: Anything, settings: MeshSettings, cluster: Cluster | None = None) -> Judgement:
    """Judge an object that could be read. Without a look at the cluster nothing is said about what it lacks."""
    try:
        return _judged(item, settings, cluster)
    except UnseenError:
        return _judged(item, settings, None)


def _judged(item: Anything, settings: MeshSettings, cluster: Cluster | None) -> Judgement:
    if isinstance(item, TrafficTarget):
        return _target(item, settings, cluster)
    if isinstance(item, TrafficSplit):
        return _split(item, settings, cluster)
    if isinstance(item, EgressPolicy):
        return _policy(item, settings, cluster)
    if isinstance(item, IdentityBinding):
        return Judgement(bind(BindingInput(item, settings.trust_domain)).problems)
    return Judgement(_annotations(item, settings))


def _annotations(item: Anything, settings: MeshSettings) -> tuple[Problem, ...]:
    modes = namespace_modes(Annotated(None, settings))
    if isinstance(item, Namespace):
        return namespace_modes(Annotated(item, settings)).problems
    if isinstance(item, Pod):
        return pod_modes(item.ref, item.metadata.annotations, modes).problems
    if isinstance(item, Service):
        return read_exports(item.ref, item.namespace, item.metadata.annotations).problems
    return ()


def _target(target: TrafficTarget, settings: MeshSettings, cluster: Cluster | None) -> Judgement:
    wished = tuple(_wished(target.namespace, rule) for rule in target.rules)
    hopes = _bindings(target, settings, None)
    mistakes = decide(TargetInput(target, wished, settings.trust_domain, hopes)).problems
    if cluster is None:
        return Judgement(mistakes)
    found = tuple(_found(cluster, target.namespace, rule) for rule in target.rules)
    there = _bindings(target, settings, cluster)
    all_problems = decide(TargetInput(target, found, settings.trust_domain, there)).problems
    return Judgement(mistakes, tuple(problem for problem in all_problems if problem not in mistakes))


def _bindings(target: TrafficTarget, settings: MeshSettings, cluster: Cluster | None) -> Bindings | None:
    """The IdentityBindings a target names: all of them as it hopes, or those that are there. Whom they name is open."""
    if not settings.identity_bindings:
        return None
    subjects = (target.destination, *target.sources)
    keys = {(item.namespace or target.namespace, item.name) for item in subjects if item.kind == BINDING}
    somebody = Bound((Identity(settings.trust_domain, target.namespace, "somebody"),))
    there = (key for key in sorted(keys) if cluster is None or cluster.get(IdentityBinding, *key) is not None)
    return Bindings(dict.fromkeys(there, somebody), frozenset())


def _split(split: TrafficSplit, settings: MeshSettings, cluster: Cluster | None) -> Judgement:
    wished = tuple(_wished(split.namespace, rule) for rule in split.matches)
    understood = read_split(SplitInput(split, wished, settings.cluster_domain))
    mistakes = understood.problems
    idle = [_silent(understood)] if split.backends and not any(backend.weight for backend in split.backends) else []
    if cluster is None:
        return Judgement(mistakes, tuple(idle))
    found = tuple(_found(cluster, split.namespace, rule) for rule in split.matches)
    all_problems = read_split(SplitInput(split, found, settings.cluster_domain)).problems
    lacks = [problem for problem in all_problems if problem not in mistakes]
    return Judgement(mistakes, (*idle, *lacks, *_absent_services(understood, settings, cluster)))


def _policy(policy: EgressPolicy, settings: MeshSettings, cluster: Cluster | None) -> Judgement:
    """An EgressPolicy, as where egress is refused: whether it is can't be told from the policy."""
    domains = settings.trust_domain, settings.cluster_domain
    wished = tuple(_wished(policy.namespace, rule) for rule in policy.matches or ())
    mistakes = permit(PolicyInput(policy, wished, Egress.REFUSED, *domains)).problems
    if cluster is None:
        return Judgement(mistakes)
    found = tuple(_found(cluster, policy.namespace, rule) for rule in policy.matches or ())
    all_problems = permit(PolicyInput(policy, found, Egress.REFUSED, *domains)).problems
    return Judgement(mistakes, tuple(problem for problem in all_problems if problem not in mistakes))


def _silent(split: Split) -> Problem:
    message = "All weights are zero, so every request is answered 503."
    return split.problem("spec.backends", message, "T3", Severity.WARNING)


def _absent_services(split: Split, settings: MeshSettings, cluster: Cluster) -> list[Problem]:
    """The Services a split names that are not there yet (rules T1, T6)."""
    problems = []
    if split.root and not _there(split.root, cluster):
        message = f"There is no Service {split.root} yet; the split has no effect until there is."
        problems.append(split.problem("spec.service", message, "T1", Severity.WARNING))
    for index, backend in enumerate(split.source.backends):
        named = service_named(backend.service, split.source.namespace, settings.cluster_domain)
        if not isinstance(named, Misnamed) and not _there(named, cluster):
            message = f"There is no Service {named} yet; this backend is left out until there is."
            problems.append(split.problem(f"spec.backends[{index}].service", message, "T6", Severity.WARNING))
    return problems


def _there(service: ServiceId, cluster: Cluster) -> bool:
    return cluster.get(Service, service.namespace, service.name) is not None


def _wished(namespace: str, rule: RuleRef) -> Found:
    """What a reference hopes to find: with every match that it names."""
    name = rule.name
    if rule.kind == HTTPRouteGroup.__name__:
        matches = tuple(HttpMatch(name=match) for match in rule.matches or ("",))
        return HTTPRouteGroup(namespace=namespace, name=name, api_version="", matches=matches)
    if rule.kind == TCPRoute.__name__:
        return TCPRoute(namespace=namespace, name=name, api_version="")
    if rule.kind == UDPRoute.__name__:
        return UDPRoute(namespace=namespace, name=name, api_version="")
    return Absent.UNKNOWN


def _found(cluster: Cluster, namespace: str, rule: RuleRef) -> Found:
    kind = KINDS.get(rule.kind)
    if kind is None:
        return Absent.UNKNOWN
    return cluster.get(kind, namespace, rule.name) or Absent.MISSING
