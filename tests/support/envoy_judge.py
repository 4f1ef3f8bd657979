"""Whether Envoy lets a caller in, judged from the resources of the server's sidecar alone.

Written from Envoy's own pages (config.rbac.v3, config.route.v3.HeaderMatcher, extensions.transport_sockets.tls.v3), and
nothing of `xds.translate` is used. What it doesn't know how to judge is an AssertionError, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import re2

from xds.readable import readable
from xds.resource import LISTENER, ROUTES, SECRET
from xds.snapshot import Snapshot


@dataclass(frozen=True)
class Request:
    """What RBAC looks at. Header names are lower case; the authority is one of them, as `host`."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Judge:
    """One sidecar, read once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._routes = {name: readable(made) for name, made in snapshot.resources[ROUTES].items()}
        self._secrets = {name: readable(made) for name, made in snapshot.resources[SECRET].items()}
        listener = readable(snapshot.resources[LISTENER]["inbound"])
        self._chains = {chain["name"]: chain for chain in listener["filter_chains"]}

    def answers(self, caller: str, port: int, request: Request) -> bool:
        """Whether a request over a connection with this URI SAN reaches the app."""
        chain = self._chains.get(f"mtls-http/{port}")
        return chain is not None and self._handshake(chain, caller) and self._permitted(chain, caller, request)

    def connects(self, caller: str, port: int) -> bool:
        """Whether a connection that is not looked into reaches the app."""
        chain = self._chains.get(f"mtls-tcp/{port}")
        return chain is not None and self._handshake(chain, caller)

    def _handshake(self, chain: Mapping[str, Any], caller: str) -> bool:
        context = chain["transport_socket"]["typed_config"]
        assert context["require_client_certificate"]
        common = context["common_tls_context"]
        if "combined_validation_context" in common:
            validation = common["combined_validation_context"]["default_validation_context"]
        else:
            secret = common["validation_context_sds_secret_config"]["name"]
            validation = self._secrets[secret]["validation_context"]
        matchers = validation.get("match_typed_subject_alt_names", [])
        assert all(matcher["san_type"] == "URI" for matcher in matchers)
        # No matcher at all accepts every certificate that chains to the bundle.
        return not matchers or any(text_matches(matcher["matcher"], caller) for matcher in matchers)

    def _permitted(self, chain: Mapping[str, Any], caller: str, request: Request) -> bool:
        manager = chain["filters"][0]["typed_config"]
        rbac, router = manager["http_filters"]
        assert router["name"] == "envoy.filters.http.router"
        (host,) = self._routes[manager["rds"]["route_config_name"]]["virtual_hosts"]
        assert host["domains"] == ["*"]
        # Whichever route a request takes, the host's word holds.
        assert host["routes"][-1]["match"] == {"prefix": "/"}
        assert all("route" in route and "typed_per_filter_config" not in route for route in host["routes"])
        override = host.get("typed_per_filter_config", {}).get(rbac["name"])
        rules = override["rbac"].get("rules") if override else rbac["typed_config"].get("rules")
        # Without rules the filter lets everything pass; ALLOW, the action nobody has to write, is 0.
        if rules is None:
            return True
        assert rules.get("action", "ALLOW") == "ALLOW"
        return any(_policy(policy, caller, request) for policy in rules.get("policies", {}).values())


def _policy(policy: Mapping[str, Any], caller: str, request: Request) -> bool:
    permitted = any(_permission(permission, request) for permission in policy["permissions"])
    return permitted and any(_principal(principal, caller) for principal in policy["principals"])


def _permission(permission: Mapping[str, Any], request: Request) -> bool:
    ((kind, value),) = permission.items()
    if kind == "any":
        return bool(value)
    if kind == "and_rules":
        return all(_permission(inner, request) for inner in value["rules"])
    if kind == "or_rules":
        return any(_permission(inner, request) for inner in value["rules"])
    if kind == "not_rule":
        return not _permission(value, request)
    if kind == "url_path":
        return text_matches(value["path"], request.path.partition("?")[0])
    assert kind == "header", kind
    return header_matches(value, request)


def header_matches(matcher: Mapping[str, Any], request: Request) -> bool:
    """Whether a HeaderMatcher holds for a request. A header that is not there matches nothing."""
    assert matcher.keys() == {"name", "string_match"}
    special = {":method": request.method, ":path": request.path, ":authority": request.headers.get("host")}
    value = special[matcher["name"]] if matcher["name"] in special else request.headers.get(matcher["name"].lower())
    return value is not None and text_matches(matcher["string_match"], value)


def _principal(principal: Mapping[str, Any], caller: str) -> bool:
    ((kind, value),) = principal.items()
    if kind == "any":
        return bool(value)
    assert kind == "authenticated", kind
    return "principal_name" not in value or text_matches(value["principal_name"], caller)


def text_matches(matcher: Mapping[str, Any], value: str) -> bool:
    """Whether a StringMatcher holds for a value. A regex must match the whole of it."""
    ((kind, wanted),) = matcher.items()
    if kind == "exact":
        return bool(value == wanted)
    if kind == "prefix":
        return value.startswith(wanted)
    assert kind == "safe_regex", kind
    return _compiled(wanted["regex"]).fullmatch(value) is not None


@cache
def _compiled(regex: str) -> Any:
    return re2.compile(regex)
