"""What EgressPolicies grant to callers of namespaces that refuse addresses outside the mesh (H6, docs/egress.md).

Rule: fail closed. A policy grants what all of its fields say together; what can't be followed grants nothing; several
policies add up. Where egress is allowed a policy changes nothing, and a warning says so (rule E1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.problem import Problem, Severity
from mesh.lookup import Absent, Found, RouteObjects, find, selected
from mesh.model import EgressGrant, Identity
from mesh.modes import Modes
from mesh.settings import Egress, MeshSettings
from smi.kinds import EgressPolicy, HttpMatch, HTTPRouteGroup

_IS_INSIDE: Final = "is inside the cluster"
_HOLDS: Final = "stands for names inside the cluster, too"


@dataclass(frozen=True, slots=True)
class Permitting:
    """All policies by namespace and name, what they may refer to, and the modes of all namespaces."""

    policies: Mapping[tuple[str, str], EgressPolicy]
    objects: RouteObjects
    modes: Mapping[str, Modes]
    settings: MeshSettings


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """A policy and what its `matches` lead to, in the same order. `egress` is the mode of its namespace."""

    policy: EgressPolicy
    groups: tuple[Found, ...]
    egress: Egress
    trust_domain: str
    cluster_domain: str


@dataclass(frozen=True, slots=True)
class Permit:
    """What a policy comes to; `grant` None: nobody may do anything because of it."""

    sources: tuple[Identity, ...]
    grant: EgressGrant | None
    problems: tuple[Problem, ...] = ()


def policy_inputs(given: Permitting) -> Mapping[tuple[str, str], PolicyInput]:
    """Give each policy what it refers to."""
    domains = given.settings.trust_domain, given.settings.cluster_domain
    return {
        key: PolicyInput(
            policy,
            find(given.objects, policy.namespace, policy.matches or ()),
            given.modes[key[0]].egress if key[0] in given.modes else given.settings.egress,
            *domains,
        )
        for key, policy in given.policies.items()
    }


def permit(given: PolicyInput) -> Permit:
    """What a policy grants, to whom."""
    policy = given.policy
    problems = _inside(given)
    requests, bad_matches = _requests(given)
    sources = tuple(sorted(Identity(given.trust_domain, policy.namespace, name) for name in policy.sources))
    nothing = problems or requests == ()
    problems += bad_matches
    if given.egress is not Egress.REFUSED:
        message = "Egress of this namespace is allowed, so every address may be called and this policy changes nothing."
        problems.append(_problem(policy, "", message, "E1", Severity.WARNING))
        nothing = True
    grant = EgressGrant(str(policy.ref), policy.hosts, policy.cidrs, policy.ports, requests)
    return Permit(sources, None if nothing else grant, tuple(problems))


def permits(decided: Mapping[tuple[str, str], Permit]) -> Mapping[Identity, tuple[EgressGrant, ...]]:
    """What is granted to each identity, in the order of the policies' names."""
    found: dict[Identity, list[EgressGrant]] = defaultdict(list)
    for item in decided.values():
        if item.grant is not None:
            for source in item.sources:
                found[source].append(item.grant)
    return {identity: tuple(grants) for identity, grants in found.items()}


def _inside(given: PolicyInput) -> list[Problem]:
    """Hosts that are Services of this cluster, or stand for them: they would be called around the mesh (rule E4)."""
    policy, domain = given.policy, given.cluster_domain.lower()
    return [
        _problem(
            policy,
            f"spec.hosts[{index}]",
            f"{host!r} {_IS_INSIDE if _is_inside(host, domain) else _HOLDS}, where TrafficTargets say who may call; "
            "the policy grants nothing.",
            "E4",
        )
        for index, host in enumerate(policy.hosts)
        if _is_inside(host, domain) or (host.startswith("*.") and domain.endswith(host.removeprefix("*")))
    ]


def _is_inside(host: str, domain: str) -> bool:
    return f".{host}".endswith((f".{domain}", ".svc"))


def _requests(given: PolicyInput) -> tuple[tuple[HttpMatch, ...] | None, list[Problem]]:
    """The requests that may be sent; None: every request. Groups that are not there leave none, never all (F2)."""
    policy = given.policy
    if policy.matches is None:
        return None, []
    found: dict[HttpMatch, None] = {}
    problems: list[Problem] = []
    for index, (reference, group) in enumerate(zip(policy.matches, given.groups, strict=True)):
        field = f"spec.matches[{index}]"
        if isinstance(group, HTTPRouteGroup):
            chosen = selected(policy, field, "E7", reference, group)
            found |= dict.fromkeys(chosen.matches)
            problems += chosen.problems
        elif isinstance(group, Absent):
            name = f"{reference.kind} {policy.namespace}/{reference.name}"
            problems.append(_problem(policy, field, f"{name} {group.value}; nothing is granted through it.", "F2"))
    return tuple(found), problems


def _problem(policy: EgressPolicy, field: str, message: str, rule: str, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(policy.ref, field, message, rule, severity, policy.origin)
