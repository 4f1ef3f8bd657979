"""The mesh-wide choices a person makes; namespaces and pods override some of them by annotation (kube.enrolment)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """Who may call (rule A1)."""

    ENFORCED = "enforced"
    PERMISSIVE = "permissive"


class Mtls(StrEnum):
    """Whether an un-meshed caller's plaintext is accepted (rule H3)."""

    STRICT = "strict"
    PERMISSIVE = "permissive"


class Egress(StrEnum):
    """What happens to traffic for addresses outside the mesh (rule H6)."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class AccessLog(StrEnum):
    """Which of the requests that rules let in are logged by the server's sidecar."""

    OFF = "off"
    ERRORS = "errors"
    SAMPLED = "sampled"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """Defaults of the mesh. `cluster_domain` ends service names, `trust_domain` opens SPIFFE IDs.

    `identity_bindings` True reads IdentityBindings, a draft of SMI, instead of granting them nothing (rule F4).
    """

    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    access: Access = Access.ENFORCED
    mtls: Mtls = Mtls.STRICT
    egress: Egress = Egress.ALLOWED
    access_log: AccessLog = AccessLog.OFF
    identity_bindings: bool = False
