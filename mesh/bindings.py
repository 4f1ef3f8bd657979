"""Who an IdentityBinding names: the identities that certificates can prove, and no other (rules A2, F4).

Rule: fail closed. A certificate names a ServiceAccount, so labels name one only while all of its pods have them. SPIFFE
IDs of this mesh count in their own namespace only.
Source: SMI specification, apis/traffic-access/v1alpha4: a binding is about workloads of its own namespace only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kube.names import shown, subdomain_fault
from kube.objects import Pod
from kube.problem import Problem, Severity
from mesh.federated import identity_of
from mesh.model import Identity
from smi.kinds import IdentityBinding

Key = tuple[str, str]
"""Namespace and name of an object."""

_SCHEME: Final = "spiffe://"
_GONE: Final = frozenset({"Succeeded", "Failed"})
"""The phases of pods that have ended."""


@dataclass(frozen=True, slots=True)
class BindingInput:
    """A binding and the pods of its namespace; None where they are of no concern to it."""

    binding: IdentityBinding
    trust_domain: str
    pods: tuple[Pod, ...] | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The identities a binding names, sorted."""

    identities: tuple[Identity, ...] = ()
    problems: tuple[Problem, ...] = ()


def bind(given: BindingInput) -> Bound:
    """Whom a binding names."""
    binding = given.binding
    named, unknown = _by_spiffe_id(given)
    labelled, unprovable = _by_labels(binding, given.pods) if given.pods is not None else (set(), [])
    accounts = labelled | ({binding.service_account} - {""})
    own = {Identity(given.trust_domain, binding.namespace, account) for account in accounts}
    return Bound(tuple(sorted(own | named)), (*unknown, *unprovable))


def switched_off(bindings: Iterable[IdentityBinding]) -> tuple[Problem, ...]:
    """What is said of bindings where the mesh does not read them."""
    message = "IdentityBinding is a draft of SMI, switched off in this mesh (--identity-bindings); it names nobody."
    return tuple(Problem(item.ref, "", message, "F4", Severity.WARNING, item.origin) for item in bindings)


def _by_spiffe_id(given: BindingInput) -> tuple[set[Identity], list[Problem]]:
    """The identities that the binding names by SPIFFE ID."""
    binding, problems = given.binding, []
    found: set[Identity] = set()
    for index, text in enumerate(binding.spiffe_identities):
        identity = identity_of(text if text.startswith(_SCHEME) else f"{_SCHEME}{text}")
        fault = _why_not(identity, binding.namespace, given.trust_domain)
        if identity is not None and not fault:
            found.add(identity)
        else:
            field = f"spec.schemes.spiffeIdentities[{index}]"
            message = f"{shown(text)} {fault}; nobody is named by it."
            problems.append(Problem(binding.ref, field, message, "F4", origin=binding.origin))
    return found, problems


def _why_not(identity: Identity | None, namespace: str, trust_domain: str) -> str:
    """Why nobody whom the binding may name can have this identity, as the rest of a sentence.

    One of another trust domain can be a caller where meshes are federated; whether it is proven is the bundle's matter.
    """
    if identity is None:
        return "is no identity of a workload: those are DOMAIN/ns/NAMESPACE/sa/NAME"
    if identity.trust_domain != trust_domain:
        return ""
    if identity.namespace != namespace:
        return f"is in another namespace than the binding, {namespace}"
    return subdomain_fault(identity.service_account)


def _by_labels(binding: IdentityBinding, pods: Iterable[Pod]) -> tuple[set[str], list[Problem]]:
    """The ServiceAccounts all of whose pods have the labels. Those of which only some do are Problems."""
    if not binding.pod_selector:
        return set(), []
    running: dict[str, list[bool]] = {}
    for pod in pods:
        if pod.status.phase not in _GONE:
            fits = all(requirement.holds(pod.metadata.labels) for requirement in binding.pod_selector)
            running.setdefault(pod.spec.service_account_name or "default", []).append(fits)
    field = "spec.schemes.podLabelSelector"
    problems = [
        Problem(
            binding.ref,
            field,
            f"ServiceAccount {name} has pods with these labels and others without, which no certificate tells apart; "
            "none of them is named. Give the pods with the labels a ServiceAccount of their own.",
            "F4",
            origin=binding.origin,
        )
        for name, fits in sorted(running.items())
        if any(fits) and not all(fits)
    ]
    found = {name for name, fits in running.items() if all(fits)}
    if not found and not problems:
        message = "No pod of the namespace has these labels, so nobody is named by them."
        problems = [Problem(binding.ref, field, message, "F4", Severity.WARNING, binding.origin)]
    return found, problems


def binding_inputs(
    bindings: Mapping[Key, IdentityBinding], pods: Mapping[str, tuple[Pod, ...]], trust_domain: str
) -> Mapping[Key, BindingInput]:
    """Give each binding what it needs to know."""
    return {
        key: BindingInput(item, trust_domain, pods.get(item.namespace, ()) if item.pod_selector else None)
        for key, item in bindings.items()
    }
