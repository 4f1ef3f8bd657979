"""Which word an Event has for a Problem: CamelCase, the same for the same rule, so that people can look for it."""

from __future__ import annotations

from typing import Final

from kube.problem import Problem

REASONS: Final = {
    "T1": "InvalidRootService",
    "T3": "NoUsableBackend",
    "T6": "BackendLeftOut",
    "T7": "MatchesIgnored",
    "T8": "MatchesNothing",
    "T9": "SplitHasNoEffect",
    "T13": "BackendWithoutEndpoints",
    "A1": "InvalidMode",
    "A3": "DestinationElsewhere",
    "A4": "UdpNotProxied",
    "A5": "InvalidRoute",
    "A6": "UnknownMatch",
    "A7": "GrantsNothing",
    "A8": "RuleOnTcpPort",
    "A9": "InvalidRegex",
    "A10": "InvalidHeader",
    "A11": "InvalidMethod",
    "A16": "InvalidExport",
    "F1": "InvalidSource",
    "F2": "InvalidRule",
    "F4": "UnknownSubject",
    "F6": "LeftOut",
    "H2": "ProtocolsDiffer",
    "H3": "InvalidMode",
    "H4": "InvalidFederatedIdentity",
    "H6": "InvalidMode",
    "V1": "UnknownVersion",
    "V2": "InvalidAnnotation",
    "V4": "InvalidWeight",
    "V5": "InvalidWeight",
    "V6": "InvalidHeader",
    "V7": "InvalidPort",
    "V8": "InvalidPort",
    "V9": "InvalidObject",
    "ca": "CertificateAuthorityBroken",
    "decode": "InvalidObject",
    "ports": "PortTaken",
}
"""Rule → reason. The rules are in docs/smi.md."""
REJECTED: Final = "ConfigurationRejected"
OTHERWISE: Final = "Problem"


def reason(problem: Problem) -> str:
    """The Event's reason for this Problem."""
    return REASONS.get(problem.rule, OTHERWISE)
