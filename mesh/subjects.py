"""Who a destination or a source of a TrafficTarget is (rules A2, A3, F4).

Rule: fail closed. A ServiceAccount is itself; an IdentityBinding is whom it names, where the mesh reads bindings; all
other kinds are nobody, whatever their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kube.problem import Ref
from mesh.bindings import Bound, Key
from mesh.model import Identity
from smi.kinds import IdentityBinding, Subject, TrafficTarget

BINDING: Final = IdentityBinding.__name__


@dataclass(frozen=True, slots=True)
class Bindings:
    """What all IdentityBindings come to. `invalid` could not be read."""

    bound: Mapping[Key, Bound]
    invalid: frozenset[Ref]

    def about(self, target: TrafficTarget) -> Bindings:
        """Only those that a TrafficTarget names, so that no other change concerns it."""
        subjects = (target.destination, *target.sources)
        keys = {(item.namespace or target.namespace, item.name) for item in subjects if item.kind == BINDING}
        if not keys:
            return _NONE
        known = {key: self.bound[key] for key in sorted(keys) if key in self.bound}
        return Bindings(known, self.invalid & {Ref(BINDING, *key) for key in keys})


_NONE: Final = Bindings({}, frozenset())


@dataclass(frozen=True, slots=True)
class Resolved:
    """The identities a subject stands for. `fault`: why there are none, as the rest of a sentence."""

    identities: tuple[Identity, ...] = ()
    fault: str = ""


def is_read(kind: str, bindings: Bindings | None) -> bool:
    """Whether subjects of this kind can stand for anybody here."""
    return kind == "ServiceAccount" or (kind == BINDING and bindings is not None)


def resolve(subject: Subject, target: TrafficTarget, trust_domain: str, bindings: Bindings | None) -> Resolved:
    """Whom a subject of this target means. `bindings` None: the mesh does not read them."""
    namespace = subject.namespace or target.namespace
    if subject.kind == "ServiceAccount":
        return Resolved((Identity(trust_domain, namespace, subject.name),))
    if subject.kind != BINDING:
        supported = "ServiceAccount" if bindings is None else f"ServiceAccount and {BINDING}"
        return Resolved(fault=f"of kind {subject.kind!r} is not supported, only {supported}")
    if bindings is None:
        return Resolved(fault=f"of kind {BINDING} is a draft of SMI, switched off in this mesh (--identity-bindings)")
    found = bindings.bound.get((namespace, subject.name))
    if found is None:
        why = "could not be read" if Ref(BINDING, namespace, subject.name) in bindings.invalid else "does not exist"
        return Resolved(fault=f"is IdentityBinding {namespace}/{subject.name}, which {why}")
    if not found.identities:
        return Resolved(fault=f"is IdentityBinding {namespace}/{subject.name}, which names nobody")
    return Resolved(found.identities)
