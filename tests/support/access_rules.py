"""Rules A1 to A11 and F1 to F5 a second time: who may do what, straight from raw SMI documents.

Written from the design's page on semantics, sentence by sentence, for the sake of being compared with the mesh; nothing
of `smi`, `mesh` or `xds` is used. Slow and plain on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from envoy_judge import Request

Document = dict[str, Any]
Account = tuple[str, str]
"""Namespace and name of a ServiceAccount."""


@dataclass(frozen=True)
class Rulebook:
    """All SMI documents, and the namespaces that are permissive."""

    documents: Sequence[Document]
    permissive: frozenset[str] = frozenset()

    def answers(self, caller: Account, server: Account, port: int, request: Request) -> bool:
        """Whether the caller may send this request."""
        if server[0] in self.permissive:  # A1
            return True
        return any(self._grants_request(target, port, request) for target in self._targets(caller, server, port))  # A4

    def connects(self, caller: Account, server: Account, port: int, *, may_be_http: bool) -> bool:
        """Whether the caller may open a connection that isn't looked into, on a port where HTTP may be spoken or not.

        Where it may be, the caller decides what its connection looks like: it needs the right to every request.
        """
        if server[0] in self.permissive:  # A1
            return True
        targets = self._targets(caller, server, port)
        return any(self._grants_connection(target, port, may_be_http) for target in targets)  # A4

    def _targets(self, caller: Account, server: Account, port: int) -> list[Document]:
        """The TrafficTargets that are about these two and this port."""
        return [
            target
            for target in self.documents
            if target["kind"] == "TrafficTarget"
            and _destination(target) == server
            and caller in _sources(target)
            and _body(target)["destination"].get("port") in {None, port}  # V7
        ]

    def _grants_request(self, target: Document, port: int, request: Request) -> bool:
        kinds = {rule["kind"] for rule in _rules(target)}
        if "TCPRoute" in kinds and not self._port_named(target, port):  # A4: both must hold
            return False
        if "HTTPRouteGroup" in kinds:
            return any(self._matches(target, rule, request) for rule in _rules(target))
        return _opens_every_request(target)

    def _grants_connection(self, target: Document, port: int, may_be_http: bool) -> bool:
        named = "HTTPRouteGroup" in {rule["kind"] for rule in _rules(target)}  # F3 and A4
        narrowed = may_be_http and not _opens_every_request(target)
        return not named and not narrowed and self._port_named(target, port)

    def _port_named(self, target: Document, port: int) -> bool:
        """Whether some TCPRoute that exists and is valid names the port, or names none (A5, F2)."""
        for rule in _rules(target):
            route = self._found(target, rule) if rule["kind"] == "TCPRoute" else None
            ports = None if route is None else route.get("spec", {}).get("matches", {}).get("ports", [])
            if ports is not None and all(number < 65536 for number in ports) and (not ports or port in ports):
                return True
        return False

    def _matches(self, target: Document, rule: Document, request: Request) -> bool:
        group = self._found(target, rule) if rule["kind"] == "HTTPRouteGroup" else None
        if group is None:  # F2
            return False
        matches = group["matches"] if "matches" in group else group["spec"]["matches"]
        chosen = [match for match in matches if not rule.get("matches") or match["name"] in rule["matches"]]  # A6
        return any(match_holds(match, request) for match in chosen)

    def _found(self, target: Document, rule: Document) -> Document | None:
        wanted = (rule["kind"], target["metadata"]["namespace"], rule["name"])
        for document in self.documents:
            if (document["kind"], document["metadata"]["namespace"], document["metadata"]["name"]) == wanted:
                return document
        return None


def _body(target: Document) -> Document:
    body: Document = target if target["apiVersion"].endswith("/v1alpha1") else target["spec"]
    return body


def _rules(target: Document) -> list[Document]:
    return _body(target).get("specs" if target["apiVersion"].endswith("/v1alpha1") else "rules") or []


def _opens_every_request(target: Document) -> bool:
    """A5, with A4's "UDPRoute stands alone"."""
    return {rule["kind"] for rule in _rules(target)} - {"UDPRoute"} == {"TCPRoute"}


def _destination(target: Document) -> Account | None:
    own, subject = target["metadata"]["namespace"], _body(target)["destination"]
    elsewhere = subject.get("namespace") not in {None, "", own}  # A3
    return None if elsewhere or subject["kind"] != "ServiceAccount" else (own, subject["name"])  # F4


def _sources(target: Document) -> set[Account]:
    own = target["metadata"]["namespace"]
    return {
        (source.get("namespace") or own, source["name"])  # A3
        for source in _body(target).get("sources") or []  # F1
        if source["kind"] == "ServiceAccount"  # F4
    }


def match_holds(match: Document, request: Request) -> bool:
    """Whether a request is one that an entry of an HTTPRouteGroup is about (A9 to A11)."""
    methods, headers, path = match.get("methods") or ["*"], _headers(match), match.get("pathRegex")
    if not match_stands(match):  # A9: refused, and grants nothing
        return False
    right_path = path is None or _compiled(path).match(request.path.split("?")[0])  # A9
    right_headers = all(  # A10
        name in request.headers and _compiled(regex).search(request.headers[name]) for name, regex in headers.items()
    )
    return bool(right_path and right_headers and ("*" in methods or request.method in methods))  # A11


def match_stands(match: Document) -> bool:
    """Whether RE2 takes all regexes of an entry of an HTTPRouteGroup (A9)."""
    written = [match.get("pathRegex"), *_headers(match).values()]
    return None not in [_compiled(regex) for regex in written if regex is not None]


@cache
def _compiled(regex: str) -> Any:
    """The regex, None where RE2 takes none."""
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        return re2.compile(regex, quiet)
    except re2.error:
        return None


def _headers(match: Document) -> Mapping[str, str]:
    written = match.get("headers") or {}
    pairs = [pair for entry in written for pair in entry.items()] if isinstance(written, list) else written.items()
    return {name.lower(): regex for name, regex in pairs}
