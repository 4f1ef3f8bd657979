"""Who may use each port of a workload: the grants for its identity, put on its ports (rules A1, A4, A5, A8, F3, F5).

Rule: the union of what each grant allows, and nothing else. No grant, no rule; no rule, nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kube.problem import Problem
from mesh.inbound import RolePort
from mesh.model import HttpRule, Identity, InboundPort, Protocol, TcpRule, Workload
from mesh.modes import Modes
from mesh.openings import is_open
from mesh.settings import Access
from mesh.targets import Grant
from mesh.workloads import Role


@dataclass(frozen=True, slots=True)
class RoleInput:
    """A role and the grants for its identity, sorted by the TrafficTarget they come from.

    `open`: the namespace is permissive, so grants are not enforced but on ports that say so (rule A1).
    """

    role: Role
    open: bool
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Guarding:
    """All roles by id, the modes of their namespaces, and what is granted on each identity."""

    roles: Mapping[str, Role]
    modes: Mapping[str, Modes]
    grants: Mapping[Identity, tuple[Grant, ...]]


@dataclass(frozen=True, slots=True)
class Guarded:
    """A workload with its rules."""

    workload: Workload
    problems: tuple[Problem, ...] = ()


def role_inputs(guarding: Guarding) -> Mapping[str, RoleInput]:
    """Give each role the grants for its identity."""
    return {
        name: RoleInput(
            role,
            open=guarding.modes[role.identity.namespace].access is Access.PERMISSIVE,
            grants=guarding.grants.get(role.identity, ()),
        )
        for name, role in guarding.roles.items()
    }


def guard(given: RoleInput) -> Guarded:
    """Put the rules on the ports of a role."""
    role = given.role
    ports = tuple(_inbound(port, is_open(port, by_default=given.open), given.grants) for port in role.ports)
    enforced = tuple(port for port in role.ports if not is_open(port, by_default=given.open))
    problems = tuple(problem for grant in given.grants for problem in _idle(grant, enforced))
    workload = Workload(role.id, role.identity, role.egress, role.mtls, ports, role.access_log)
    return Guarded(workload, problems)


def _inbound(port: RolePort, open_to_all: bool, grants: tuple[Grant, ...]) -> InboundPort:
    covering = [] if open_to_all else [grant for grant in grants if grant.covers(port.number)]
    http = tuple(rule for grant in covering for rule in _http_rule(grant)) if port.protocol != Protocol.TCP else ()
    tcp = tuple(rule for grant in covering for rule in _tcp_rule(grant, port)) if not port.protocol.is_http else ()
    return InboundPort(port.number, port.protocol, port.mtls, open_to_all, http, tcp, port.http1)


def _http_rule(grant: Grant) -> list[HttpRule]:
    """None at all where the grant leaves no request: an HttpRule without matches would allow every one."""
    if grant.requests is None:
        return [HttpRule(str(grant.target), grant.sources, ())]
    return [HttpRule(str(grant.target), grant.sources, grant.requests)] if grant.requests else []


def _tcp_rule(grant: Grant, port: RolePort) -> list[TcpRule]:
    """None where requests may pass and not every one is allowed: the caller decides what its connection looks like."""
    whole = port.protocol is Protocol.TCP or grant.requests is None
    return [TcpRule(str(grant.target), grant.sources)] if grant.connections and whole else []


def _idle(grant: Grant, ports: tuple[RolePort, ...]) -> list[Problem]:
    """A warning where HTTP rules meet nothing but ports on which no request can be seen (rule A8)."""
    covered = [port for port in ports if grant.covers(port.number)]
    if grant.connections or not covered or any(port.protocol is not Protocol.TCP for port in covered):
        return []
    numbers = ", ".join(str(port.number) for port in covered)
    message = f"HTTP rules grant nothing on TCP port {numbers} of {grant.destination.service_account}."
    return [grant.problem("spec.rules", message, "A8")]
