"""Callers of other meshes, as the annotation of a TrafficTarget names them by SPIFFE ID.

Rule: fail closed. A name that is written wrong grants nothing, and so does one of our own mesh: a ServiceAccount.
Whether a name can be proven is the bundle's matter (docs/federation.md).
"""

from __future__ import annotations

import re
from typing import Final

from kube.enrolment import FEDERATED_IDENTITY, FEDERATED_SOURCES
from kube.names import shown
from kube.objects import Service
from kube.problem import Problem
from mesh.model import Identity
from smi.kinds import TrafficTarget

MOST: Final = 100
UNPROVABLE: Final = Identity("", "", "")
"""Nobody: a name that was written wrong must not lead to plaintext."""
_ID: Final = re.compile(
    r"spiffe://(?P<domain>(?=[^/]{1,255}/)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"/ns/(?P<namespace>[A-Za-z0-9._-]{1,253})/sa/(?P<account>[A-Za-z0-9._-]{1,253})"
)


def federated(target: TrafficTarget, trust_domain: str) -> tuple[set[Identity], list[Problem]]:
    """The identities of other meshes among the sources of this target."""
    text = target.federated
    names = [name for name in re.split(r"[,\s]+", text) if name]
    found: set[Identity] = set()
    problems: list[Problem] = []
    for name in names[:MOST]:
        caller = identity_of(name)
        if caller is None:
            problems.append(_problem(target, f"{shown(name)} is not spiffe://DOMAIN/ns/NAMESPACE/sa/NAME"))
        elif caller.trust_domain == trust_domain:
            problems.append(_problem(target, f"{shown(name)} is of this mesh and belongs into spec.sources"))
        else:
            found.add(caller)
    if len(names) > MOST:
        problems.append(_problem(target, f"More than {MOST} names are given; those after them are granted nothing"))
    return found, problems


def remote_identity(service: Service) -> tuple[Identity | None, tuple[Problem, ...]]:
    """Who answers at the endpoints of a Service, where its annotation says that it is somebody of another mesh."""
    name = service.metadata.annotations.get(FEDERATED_IDENTITY)
    if name is None:
        return None, ()
    found = identity_of(name)
    field = f"metadata.annotations[{FEDERATED_IDENTITY}]"
    if service.spec.selector:
        message = "A Service that selects pods of this mesh leads to nobody of another one; this says nothing."
        return None, (Problem(service.ref, field, message, "H4"),)
    if found is None:
        message = f"{shown(name)} is not spiffe://DOMAIN/ns/NAMESPACE/sa/NAME; no endpoint is taken for it."
        return UNPROVABLE, (Problem(service.ref, field, message, "H4"),)
    return found, ()


def identity_of(name: str) -> Identity | None:
    """The identity that a SPIFFE ID names; None where it is none of the form that meshes give to workloads."""
    match = _ID.fullmatch(name)
    return Identity(match["domain"], match["namespace"], match["account"]) if match else None


def _problem(target: TrafficTarget, what: str) -> Problem:
    field = f"metadata.annotations[{FEDERATED_SOURCES}]"
    return Problem(target.ref, field, f"{what}; it is granted nothing.", "F1", origin=target.origin)
