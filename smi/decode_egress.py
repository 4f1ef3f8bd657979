"""Reads weft.dev EgressPolicy, v1alpha1.

Rule: fail closed, and as a whole. A policy with a mistake anywhere grants nothing (rule E9): each of its fields narrows
what the others open, so leaving one out could only open more than was meant.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from kube.enrolment import SIDECAR_PORTS
from kube.names import shown, subdomain_fault
from kube.problem import Severity
from smi.kinds import EgressPolicy, EgressPort, EgressProtocol, RuleRef
from smi.reading import Part, Reading, short

GROUP: Final = "weft.dev"
VERSIONS: Final = ("v1alpha1",)

_EFFECT: Final = "the policy grants nothing"
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*")
"""A name of RFC 1123 section 2.1, with the underscore that some names have, or a wildcard for all below one."""
_LONGEST: Final = 253
_PROTOCOLS: Final = ", ".join(EgressProtocol)


def read_policy(reading: Reading) -> EgressPolicy | None:
    """The policy, or None if anything is wrong with it."""
    top = reading.top("E9", _EFFECT)
    top.ignore_others(("apiVersion", "kind", "metadata", "spec", "status"))
    spec = top.part("spec", required=True)
    spec.only(("sources", "hosts", "cidrs", "ports", "matches"))
    sources = tuple(_source(part) for part in _listed(spec, "sources", "E2", "nobody is granted anything"))
    read = [_port(part) for part in _listed(spec, "ports", "E6", "nothing is granted")]
    hosts, cidrs = _hosts(spec), _cidrs(spec)
    matches = None if spec.get("matches") is None else tuple(_match(part) for part in spec.parts("matches", "E7"))
    _together(spec, read, matches)
    if any(problem.severity is Severity.ERROR for problem in reading.problems):
        return None
    return EgressPolicy(
        **reading.identity(),
        sources=tuple(dict.fromkeys(sources)),
        ports=tuple(sorted({port for port in read if port})),
        hosts=tuple(dict.fromkeys(hosts)),
        cidrs=tuple(dict.fromkeys(cidrs)),
        matches=matches,
    )


def _listed(spec: Part, key: str, rule: str, effect: str) -> list[Part]:
    """The maps of a list that must not be empty."""
    parts = list(spec.parts(key, rule))
    if not parts and spec.sound and spec.value is not None:
        spec.reading.error(spec.at(key), f"There are no {key}, so {effect}.", rule)
    return parts


def _source(part: Part) -> str:
    """A ServiceAccount of the policy's own namespace, and nothing else (rule E2)."""
    part.only(("kind", "name", "namespace", "apiGroup"))
    kind, name = part.text("kind", required=True), part.text("name", required=True) or ""
    if kind not in {None, "ServiceAccount"}:
        part.refuse("kind", f"must be ServiceAccount, not {short(kind)}")
    if name and (fault := subdomain_fault(name)):
        part.refuse("name", fault)
    namespace, own = part.text("namespace"), part.reading.raw["metadata"].get("namespace")
    if namespace not in {None, "", own}:
        part.refuse("namespace", f"is {shown(str(namespace))}, and a policy is about callers of its own namespace only")
    return name


def _port(part: Part) -> EgressPort | None:
    part.only(("number", "protocol", "name"))
    number, protocol = part.port("number"), part.text("protocol", required=True)
    if part.get("number") is None and part.value is not None:
        part.refuse("number", "is missing")
    if number in SIDECAR_PORTS:
        part.refuse("number", f"is {number}, a port of the sidecar itself")
    if protocol is not None and protocol not in set(EgressProtocol):
        part.refuse("protocol", f"must be one of {_PROTOCOLS}, not {shown(protocol)}")
    if number is None or protocol is None or not part.sound:
        return None
    return EgressPort(number=number, protocol=EgressProtocol(protocol))


def _hosts(spec: Part) -> list[str]:
    spec.rule, before = "E3", spec.rule
    found = [host.lower().removesuffix(".") for host in spec.texts("hosts") or ()]
    for index, host in enumerate(found):
        if fault := _host_fault(host):
            spec.refuse_at(f"{spec.at('hosts')}[{index}]", f"{shown(host)} {fault}")
    spec.rule = before
    return found


def _host_fault(host: str) -> str:
    """Why this is no host, as the rest of a sentence; empty if it is one."""
    if _is_address(host):
        return "is an address, and hosts are names: addresses go into cidrs"
    if host == "*":
        return "would be every host: a wildcard stands before a name, as in *.example.org"
    if "*" in host and not host.startswith("*."):
        return "has its wildcard in the wrong place: it stands for the first labels, as in *.example.org"
    if len(host) > _LONGEST or not _HOST.fullmatch(host):
        return "is no host name: labels of letters, digits, '-' and '_' are, up to 63 each, joined by dots"
    return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _cidrs(spec: Part) -> list[str]:
    spec.rule, before = "E5", spec.rule
    found = []
    for index, written in enumerate(spec.texts("cidrs") or ()):
        try:
            if "/" not in written:
                raise ValueError("has no prefix length; of a single address that is /32, or /128 in IPv6")
            found.append(str(ipaddress.ip_network(written)))
        except ValueError as error:
            fault = str(error).removeprefix(repr(written)).removeprefix(written).strip()
            spec.refuse_at(f"{spec.at('cidrs')}[{index}]", f"{shown(written)} is no network: it {_grammar(fault)}")
    spec.rule = before
    return found


def _grammar(fault: str) -> str:
    """The words of Python's ipaddress, fit for a sentence."""
    return fault if fault.startswith(("has ", "does ")) else "is not ADDRESS/LENGTH of IPv4 or IPv6"


def _match(part: Part) -> RuleRef:
    part.only(("kind", "name", "matches", "apiGroup"))
    kind, name = part.text("kind", required=True), part.text("name", required=True) or ""
    if kind not in {None, "HTTPRouteGroup"}:
        part.refuse("kind", f"must be HTTPRouteGroup, not {short(kind)}")
    return RuleRef(kind="HTTPRouteGroup", name=name, matches=part.texts("matches"))


def _together(spec: Part, ports: list[EgressPort | None], matches: tuple[RuleRef, ...] | None) -> None:
    """What is right by itself and wrong beside the rest."""
    if spec.value is None:
        return
    problem = spec.reading.error
    if not spec.get("hosts") and not spec.get("cidrs"):
        problem(spec.path, "There are neither hosts nor cidrs, so nothing is granted.", "E3")
    if matches == ():
        problem(spec.at("matches"), "There are no matches, so nothing is granted; leave the field out for all.", "E7")
    for index, port in enumerate(ports):
        path = f"{spec.at('ports')}[{index}].protocol"
        if port and port.protocol is EgressProtocol.TCP and spec.get("hosts"):
            message = "Nothing names a host in plain TCP: use tls, or cidrs in a policy of its own; nothing is granted."
            problem(path, message, "E6")
        if port and port.protocol is not EgressProtocol.HTTP and matches:
            message = "Requests can be seen on http ports only, so matches can't hold here; nothing is granted."
            problem(path, message, "E7")
