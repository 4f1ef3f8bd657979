"""Reads access.smi-spec.io IdentityBinding, a draft (v1alpha4): the ways in which an object says who somebody is.

Rule: fail closed. A binding that says what can't be read, or says it in two ways that exclude each other, names nobody;
schemes add up, so one that nobody knows is only left out.
Source: SMI specification, apis/traffic-access/v1alpha4, IdentityBinding; Kubernetes, meta/v1 LabelSelector.
"""

from __future__ import annotations

from typing import Final

from kube.names import subdomain_fault
from smi.kinds import IdentityBinding, LabelRequirement
from smi.reading import Part, Reading

VERSIONS: Final = ("v1alpha4",)

_NOBODY: Final = "the binding names nobody"
_SELECTOR: Final = "podLabelSelector"
_ACCOUNT: Final = "serviceAccount"
_SPIFFE: Final = "spiffeIdentities"
_OPERATORS: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""The operators, and whether they need values."""


def read_binding(reading: Reading) -> IdentityBinding | None:
    """The binding, or None if it names nobody."""
    spec = reading.top("F4", _NOBODY).part("spec", required=True)
    spec.only(("schemes",))
    schemes = spec.part("schemes", required=True)
    schemes.ignore_others((_SELECTOR, _ACCOUNT, _SPIFFE))
    account = schemes.text(_ACCOUNT) or ""
    if account and (fault := subdomain_fault(account)):
        schemes.refuse(_ACCOUNT, fault)
    identities = schemes.texts(_SPIFFE) or ()
    selector = schemes.part(_SELECTOR)
    requirements = tuple(_requirements(selector))
    if selector.value is not None and account:
        schemes.refuse(_SELECTOR, f"stands beside {_ACCOUNT}, and they exclude each other")
    elif selector.value is not None and selector.sound and not requirements:
        schemes.refuse(_SELECTOR, "is empty; name a ServiceAccount to mean all of its pods")
    elif not (account or identities or requirements) and spec.sound and schemes.sound and selector.sound:
        spec.refuse("schemes", "says nothing")
    if not (spec.sound and schemes.sound and selector.sound):
        return None
    return IdentityBinding(
        **reading.identity(), service_account=account, spiffe_identities=identities, pod_selector=requirements
    )


def _requirements(selector: Part) -> list[LabelRequirement]:
    """All that a label selector asks for, which must hold together."""
    selector.only(("matchLabels", "matchExpressions"))
    labels = selector.part("matchLabels")
    found = []
    for key, value in (labels.value or {}).items():
        if isinstance(value, str):
            found.append(LabelRequirement(key=key, operator="In", values=(value,)))
        else:
            labels.refuse(key, "must be a text")
    for part in selector.parts("matchExpressions"):
        found += _expression(part)
        selector.sound = selector.sound and part.sound
    selector.sound = selector.sound and labels.sound
    return found


def _expression(part: Part) -> list[LabelRequirement]:
    part.only(("key", "operator", "values"))
    key, operator = part.text("key", required=True) or "", part.text("operator", required=True) or ""
    written = part.items("values") or []
    if operator and operator not in _OPERATORS:
        part.refuse("operator", f"must be one of {', '.join(_OPERATORS)}")
    elif operator and _OPERATORS[operator] != bool(written):
        part.refuse("values", f"must {'not ' * bool(written)}be there with {operator}")
    if not all(isinstance(value, str) for value in written):
        part.refuse("values", "must be texts")
    return [LabelRequirement(key=key, operator=operator, values=tuple(written))] if part.sound else []
