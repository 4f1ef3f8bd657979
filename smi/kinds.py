"""The SMI kinds and our own, free of versions: every version of a kind is read into the same frozen object.

Rule: nothing here is lost and nothing is made up. What one object alone can get wrong is a Problem when it is read
(`smi.decode`); what needs other objects is decided in `mesh`.
Source: SMI specification, apis/traffic-split, apis/traffic-access, apis/traffic-specs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kube.problem import Origin, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiObject:
    """What all SMI objects have. `created` is RFC 3339 UTC text, empty for files, where `origin` orders instead."""

    namespace: str
    name: str
    api_version: str
    created: str = ""
    origin: Origin | None = None

    @property
    def kind(self) -> str:
        """The Kubernetes kind, which is the class's name."""
        return type(self).__name__

    @property
    def ref(self) -> Ref:
        """How Problems name this object."""
        return Ref(self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBackend:
    """One backend and its share. `weight` is relative to the other backends' of the same split (rules T2, V4)."""

    service: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRef:
    """A reference to a route object in the same namespace, e.g. from `spec.rules` or a split's `matches`.

    `matches` None means all matches of the object (rule A6); an empty tuple means the same, as written.
    """

    kind: str
    name: str
    matches: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit(SmiObject):
    """split.smi-spec.io. `service` as written (rule T1); `matches` are references to route groups (rule T8)."""

    service: str
    backends: tuple[SplitBackend, ...]
    matches: tuple[RuleRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A destination or a source of a TrafficTarget. `namespace` is empty where the object leaves it out (rule A3)."""

    kind: str
    name: str
    namespace: str = ""
    port: int | None = None
    """Destination only, access v1alpha1/v1alpha2: the container port the grant is limited to (rule V7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTarget(SmiObject):
    """access.smi-spec.io: who may call whom, and how."""

    destination: Subject
    sources: tuple[Subject, ...] = ()
    rules: tuple[RuleRef, ...] = ()
    federated: str = ""
    """The annotation that names callers of other meshes, as written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequirement:
    """What a pod's labels must be. `operator` is In, NotIn, Exists or DoesNotExist (meta/v1 LabelSelector)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are so. A label that is not there is not in any list of values."""
        if self.operator in {"In", "NotIn"}:
            return (labels.get(self.key) in self.values) == (self.operator == "In")
        return (self.key in labels) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityBinding(SmiObject):
    """access.smi-spec.io IdentityBinding, a draft: whoever any of these names. Empty ones name nobody.

    `spiffe_identities` as written, usually without their scheme; the requirements of `pod_selector` must all hold.
    """

    service_account: str = ""
    spiffe_identities: tuple[str, ...] = ()
    pod_selector: tuple[LabelRequirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A header name in lower case and an RE2 searched anywhere in its value (rule A10)."""

    name: str
    regex: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMatch:
    """One entry of `spec.matches` of an HTTPRouteGroup.

    `methods` empty means all (rule A11). `path_regex` None means every path; it is RE2, anchored at the start
    only (rule A9). `headers` must all hold (rule A10).
    """

    name: str
    methods: frozenset[str] = frozenset()
    path_regex: str | None = None
    headers: tuple[HeaderMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteGroup(SmiObject):
    """specs.smi-spec.io HTTPRouteGroup. `invalid` names matches set aside by a Problem; they grant nothing (F2)."""

    matches: tuple[HttpMatch, ...] = ()
    invalid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRoute(SmiObject):
    """specs.smi-spec.io TCPRoute. No ports means all ports (rules A5, V8)."""

    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UDPRoute(SmiObject):
    """specs.smi-spec.io UDPRoute. UDP is not proxied; the object is read, checked and reported."""

    ports: tuple[int, ...] = ()


class EgressProtocol(StrEnum):
    """What is spoken on a port outside the mesh, and so by what its callers are told apart (rule E6).

    HTTP by its requests' authority, TLS (which HTTPS is) by the server name of its handshake, TCP by nothing.
    """

    HTTP = "http"
    HTTPS = "https"
    TLS = "tls"
    TCP = "tcp"

    @property
    def has_server_name(self) -> bool:
        """Whether connections begin with a handshake that may name the server (SNI, RFC 6066)."""
        return self in {EgressProtocol.HTTPS, EgressProtocol.TLS}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class EgressPort:
    """A port outside the mesh, and what is spoken there."""

    number: int
    protocol: EgressProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy(SmiObject):
    """weft.dev EgressPolicy: which addresses outside the mesh `sources` may reach where egress is refused (H6).

    `sources` are names of ServiceAccounts of its namespace, one at least. `hosts` are lower-case names, exact or
    `*.` and a name; `cidrs` are networks in their shortest form; there is one of either at least. `matches` are
    references to route groups: None means every request, and no other port than HTTP's has any.
    """

    sources: tuple[str, ...]
    ports: tuple[EgressPort, ...]
    hosts: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    matches: tuple[RuleRef, ...] | None = None
