"""How people name a Service inside an SMI object (rule T1). Rule: only Services of the object's own namespace count."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.model import ServiceId


@dataclass(frozen=True, slots=True)
class Misnamed:
    """A name that means no Service here. `message` is a sentence that says why."""

    message: str


def service_named(text: str, namespace: str, cluster_domain: str) -> ServiceId | Misnamed:
    """The Service that `text` means in an object of `namespace`.

    `name`, `name.namespace`, `name.namespace.svc` and `name.namespace.svc.<cluster domain>` are the same Service,
    a trailing dot changes nothing, and DNS knows no case.
    """
    name, dot, rest = text.strip().lower().removesuffix(".").partition(".")
    if not name:
        return Misnamed("The name of a Service is missing.")
    if not dot:
        return ServiceId(namespace, name)
    owner, _, suffix = rest.partition(".")
    if suffix not in {"", "svc", f"svc.{cluster_domain.lower()}"}:
        return Misnamed(
            f"{text!r} is no name of a Service: write `{name}`, or at most `{name}.{namespace}.svc.{cluster_domain}`."
        )
    if owner != namespace:
        return Misnamed(f"{text!r} is in namespace {owner}, but only Services in {namespace} can be named here.")
    return ServiceId(namespace, name)
