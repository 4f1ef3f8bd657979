"""Whether a call is let in, and because of what: the answer that the server's sidecar gives (rules A1 to A12, H3).

Rule: the ports and rules of a Workload decide, which are what the sidecar is made of; nothing else is looked at. It is
checked against what Envoy is sent, for random rules (tests/property/test_verdicts.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import re2

from mesh.model import HttpRule, Identity, InboundPort, Protocol, Workload
from mesh.paths import canonical
from mesh.settings import Mtls
from smi.kinds import HttpMatch
from smi.regex import header_pattern, path_pattern

_ESCAPED_SLASH: Final = re.compile(r"%(2f|5c)", re.IGNORECASE)


EVERY_REQUEST: Final = "every request"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request. Names of headers are lower case, and `host` is the authority."""

    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody calls a container port. No caller: plaintext. No request: a connection that is not looked into."""

    caller: Identity | None
    port: int
    request: HttpRequest | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `answer` is what a refused caller gets: `403`, `400` or `closed`; empty where it is let in.

    `because` is a sentence; `rules` are the TrafficTargets that let it in, `nearly` says for others what they lack.
    """

    allowed: bool
    because: str
    answer: str = ""
    rules: tuple[str, ...] = ()
    nearly: tuple[str, ...] = ()


def judge_call(workload: Workload, call: Call) -> Verdict:
    """What the sidecar of this workload does with a call."""
    port = next((each for each in workload.ports if each.port == call.port), None)
    if port is None:
        return Verdict(False, f"Nothing declares port {call.port}, neither a container nor a Service.", "closed")
    if call.caller is None and port.mtls is Mtls.STRICT:
        return Verdict(False, f"It is plaintext, and port {port.port} takes mutual TLS only.", "closed")
    if port.open and call.caller is not None and call.caller.trust_domain != workload.identity.trust_domain:
        why = f"Access to port {port.port} is permissive, which opens it to callers of this mesh only."
        return Verdict(False, why, "403" if call.request is not None and port.protocol.is_http else "closed")
    if call.request is None or port.protocol is Protocol.TCP:
        return _connection(port, call.caller)
    return _request(port, call.caller, call.request)


def holds(match: HttpMatch, method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a match is about a request (rules A9 to A11); `path` is canonical, with its query."""
    if match.methods and method not in match.methods:
        return False
    if match.path_regex is not None:
        whole = path.partition("?")[0]
        if _ESCAPED_SLASH.search(whole) or not _fits(path_pattern(match.path_regex), whole):
            return False
    return all(
        header.name in headers and _fits(header_pattern(header.regex), headers[header.name]) for header in match.headers
    )


def in_words(match: HttpMatch) -> str:
    """The requests that a match is about, for people."""
    words = [", ".join(sorted(match.methods))] if match.methods else []
    if match.path_regex is not None:
        words.append(match.path_regex)
    words += [f"with {header.name} ~ {header.regex}" for header in match.headers]
    return " ".join(words) or EVERY_REQUEST


def _connection(port: InboundPort, caller: Identity | None) -> Verdict:
    if port.protocol.is_http:
        return Verdict(False, f"Port {port.port} speaks HTTP, so a connection that is not HTTP is refused.", "closed")
    if port.open:
        return Verdict(True, _everyone(port))
    if caller is None:
        return Verdict(False, "Plaintext proves no identity, and only TrafficTargets let callers in.", "closed")
    rules = tuple(dict.fromkeys(rule.origin for rule in port.tcp_rules if caller in rule.identities))
    if rules:
        return Verdict(True, f"{rules[0]} lets it connect.", rules=rules)
    nearly = tuple(
        f"{rule.origin} lets it send requests, but on a port where HTTP is not certain that opens no connection."
        for rule in port.http_rules
        if caller in rule.identities
    )
    return Verdict(False, f"No TrafficTarget lets it connect to port {port.port}.", "closed", nearly=nearly)


def _request(port: InboundPort, caller: Identity | None, request: HttpRequest) -> Verdict:
    path = canonical(request.path)
    if path is None:
        return Verdict(False, f"{request.path!r} is no path that a sidecar takes.", "400")
    if port.open:
        return Verdict(True, _everyone(port))
    if caller is None:
        return Verdict(False, "Plaintext proves no identity, and only TrafficTargets let callers in.", "403")
    own = [rule for rule in port.http_rules if caller in rule.identities]
    rules = tuple(dict.fromkeys(rule.origin for rule in own if _about(rule, request, path)))
    if rules:
        return Verdict(True, f"{rules[0]} lets it send this request.", rules=rules)
    if own:
        nearly = tuple(f"{rule.origin} lets it send {' or '.join(map(in_words, rule.matches))} only." for rule in own)
        return Verdict(False, "No rule for this caller is about this request.", "403", nearly=nearly)
    others = (rule.origin for rule in port.http_rules if _about(rule, request, path))
    nearly = tuple(f"{origin} lets others send this request." for origin in dict.fromkeys(others))
    return Verdict(False, f"No TrafficTarget lets this caller use port {port.port}.", "403", nearly=nearly)


def _about(rule: HttpRule, request: HttpRequest, path: str) -> bool:
    """Whether a rule is about a request. No matches: about every one."""
    return not rule.matches or any(holds(match, request.method, path, request.headers) for match in rule.matches)


def _everyone(port: InboundPort) -> str:
    who = "every meshed caller" if port.mtls is Mtls.STRICT else "everyone, in plaintext too,"
    return f"Access to port {port.port} is permissive: {who} may call."


def _fits(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value.encode(errors="surrogateescape")) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    """RE2 over bytes, as Envoy compares."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern.encode(), options)
