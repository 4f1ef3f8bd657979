"""What the API server takes as an SMI object or one of ours: an OpenAPI schema for each version of each kind.

Rule: a schema holds what its version has and what old clients write besides (rule V9), within bounds; what it says
in more detail is for the webhook to check. Nothing here has a default, so nothing is ever added to what a person wrote
(rule V3).
Source: SMI specification, apis/*; Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", "Specifying a
structural schema".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]

NAME: Final = 253
"""The longest name of a Kubernetes object."""

OLD_SPECS: Final = frozenset({"v1alpha1", "v1alpha2"})
"""The versions of specs.smi-spec.io with `matches` at the top of the object."""


def _map(description: str, properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    made: Schema = {"type": "object", "description": description, "properties": dict(properties)}
    return {**made, "required": list(required)} if required else made


def _list(description: str, items: Schema, most: int) -> Schema:
    return {"type": "array", "description": description, "maxItems": most, "items": items}


def _text(description: str, most: int = NAME, least: int = 0) -> Schema:
    made: Schema = {"type": "string", "description": description, "maxLength": most}
    return {**made, "minLength": least} if least else made


def _port(description: str) -> Schema:
    """A port number, also as digits in quotes (rule V9)."""
    return {
        "description": description,
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "maximum": 65535,
        "pattern": "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
    }


def _quantity() -> Schema:
    """A weight of split v1alpha1 (rule V4)."""
    return {
        "description": "Share of the requests, relative to the other backends': a quantity such as 1, 500m or 1e3.",
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 0,
        "maxLength": 64,
        "pattern": r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,4})?$",
    }


def _weight() -> Schema:
    """A weight from split v1alpha2 on (rule V5). The format bounds it above: as a `maximum`, 2**63-1 is a float64."""
    return {
        "type": "integer",
        "format": "int64",
        "description": "Share of the requests, relative to the other backends': a whole number from 0 up.",
        "minimum": 0,
    }


def traffic_split(version: str) -> Schema:
    """split.smi-spec.io TrafficSplit."""
    backend = _map(
        "One of the Services that answer.",
        {
            "service": _text("Name of a Service in the split's namespace.", least=1),
            "weight": _quantity() if version == "v1alpha1" else _weight(),
        },
        ("service", "weight"),
    )
    properties = {
        "service": _text("The root: the Service that clients call. It is in the split's namespace.", least=1),
        "backends": _list("The Services that answer, each with its share.", backend, 256),
    }
    if version not in {"v1alpha1", "v1alpha2"}:
        group = _map(
            "A route group in the split's namespace.",
            {
                "apiGroup": _text("The group of the kind: specs.smi-spec.io."),
                "kind": _text("HTTPRouteGroup.", least=1),
                "name": _text("Name of the route group.", least=1),
            },
            ("kind", "name"),
        )
        properties["matches"] = _list(
            "Route groups. Requests that match a route of any of them follow the backends, all others go to the root.",
            group,
            64,
        )
    spec = _map("How the calls of one Service are shared out.", properties, ("service", "backends"))
    return _map("TrafficSplit divides the requests to one Service among several, by weight.", {"spec": spec}, ("spec",))


def traffic_target(version: str) -> Schema:
    """access.smi-spec.io TrafficTarget.

    `destination.port` ends with v1alpha2 (rule V7); old clients write it in v1alpha3 all the same (rule V9).
    """
    rule = _map(
        "A route object in the same namespace, or some of its matches.",
        {
            "apiGroup": _text("The group of the kind: specs.smi-spec.io."),
            "kind": _text("HTTPRouteGroup, TCPRoute or UDPRoute.", least=1),
            "name": _text("Name of the route object.", least=1),
            "matches": _list("Names of matches of an HTTPRouteGroup; none for all.", _text("A name.", 1024, 1), 1024),
        },
        ("kind", "name"),
    )
    ported = version in {"v1alpha1", "v1alpha2"}
    rules = "specs" if version == "v1alpha1" else "rules"
    properties = {
        "destination": _subject("Who may be called: the workloads of a ServiceAccount of this namespace.", ports=True),
        "sources": _list("Who may call. Nobody, if there are none.", _subject("One caller.", ports=ported), 1024),
        rules: _list("What may be called: TCPRoute and HTTPRouteGroup rules must both hold.", rule, 1024),
    }
    about = "TrafficTarget grants callers access to the workloads of one ServiceAccount. Without one, nobody may call."
    if version == "v1alpha1":
        return _map(about, properties, ("destination",))
    return _map(about, {"spec": _map("The grant.", properties, ("destination",))}, ("spec",))


def _subject(description: str, *, ports: bool) -> Schema:
    properties = {
        "apiGroup": _text("The group of the kind, empty for ServiceAccount."),
        "group": _text("The same, as the draft of v1alpha4 spells it."),
        "kind": _text(
            "ServiceAccount, or IdentityBinding where the mesh reads those. No other is granted anything.", least=1
        ),
        "name": _text("Its name.", least=1),
        "namespace": _text("Its namespace; the TrafficTarget's own if left out.", 63),
    }
    if ports:
        properties["port"] = _port("In a destination: the container port that the grant is limited to.")
    return _map(description, properties, ("kind", "name"))


def http_route_group(version: str) -> Schema:
    """specs.smi-spec.io HTTPRouteGroup. `headers` begin with v1alpha2, `spec` with v1alpha3."""
    properties: dict[str, Schema] = {
        "name": _text("How rules name this match.", 1024, 1),
        "pathRegex": _text("RE2 expression that the path begins with; every path if left out.", 8192),
        "methods": _list("HTTP methods; all if left out, or if '*' is among them.", _text("A method.", 64, 1), 64),
    }
    if version != "v1alpha1":
        properties["headers"] = {
            "description": "Header names, each with an RE2 expression found anywhere in its value; all must hold. "
            "A map, or a list of maps.",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    match = _map("Requests that look alike: path, methods and headers must all hold.", properties, ("name",))
    about = "HTTPRouteGroup names kinds of HTTP requests, for TrafficTargets and TrafficSplits to refer to."
    return _specs(about, version, _list("The matches, which are alternatives.", match, 1024))


def tcp_route(version: str) -> Schema:
    """specs.smi-spec.io TCPRoute, which has no ports before v1alpha4 (rule V8)."""
    about = "TCPRoute names TCP ports, for TrafficTargets to refer to."
    if version == "v1alpha4":
        return _specs(about, version, _ports())
    return _map(about, {} if version in OLD_SPECS else {"spec": _map("It has no fields; all ports are meant.", {})})


def udp_route(version: str) -> Schema:
    """specs.smi-spec.io UDPRoute."""
    return _specs("UDPRoute names UDP ports, for TrafficTargets to refer to.", version, _ports())


def _ports() -> Schema:
    """The `matches` of a TCPRoute or UDPRoute."""
    properties = {
        "name": _text("A name; nothing refers to it.", 1024),
        "ports": _list("Container ports; all ports if left out or empty.", _port("A port."), 1024),
    }
    return _map("The ports.", properties)


def _specs(about: str, version: str, matches: Schema) -> Schema:
    """An object with `matches`: at the top until v1alpha2, then in `spec`, where old clients still write the top."""
    if version in OLD_SPECS:
        return _map(about, {"matches": matches})
    old = {**matches, "description": "As v1alpha2 has it; read only where spec.matches is not there."}
    return _map(about, {"spec": _map("What is matched.", {"matches": matches}), "matches": old})


def identity_binding(_version: str) -> Schema:
    """access.smi-spec.io IdentityBinding, a draft."""
    labels = {"type": "object", "description": "Labels.", "additionalProperties": _text("A value.", 63)}
    expression = _map(
        "One requirement.",
        {
            "key": _text("The label.", 317, 1),
            "operator": {"type": "string", "description": "How.", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": _list("The values.", _text("A value.", 63), 256),
        },
        ("key", "operator"),
    )
    selector = _map(
        "The pods with these labels.",
        {"matchLabels": labels, "matchExpressions": _list("Requirements.", expression, 64)},
    )
    schemes = _map(
        "Ways to say who it is; any of them will do.",
        {
            "podLabelSelector": selector,
            "spiffeIdentities": _list("SPIFFE IDs without their scheme.", _text("An identity.", 2048, 1), 1024),
            "serviceAccount": _text("A ServiceAccount of this namespace.", least=1),
        },
    )
    spec = _map("The identities.", {"schemes": schemes}, ("schemes",))
    return _map(
        "IdentityBinding names identities. A draft: it grants nothing, unless the mesh reads it.",
        {"spec": spec},
        ("spec",),
    )


def egress_policy(_version: str) -> Schema:
    """weft.dev EgressPolicy. Old clients have never written one, so numbers are numbers here."""
    source = _map(
        "A ServiceAccount of the policy's namespace.",
        {
            "apiGroup": _text("The group of the kind, empty for ServiceAccount."),
            "kind": {**_text("ServiceAccount.", 64), "enum": ["ServiceAccount"]},
            "name": _text("Name of the ServiceAccount.", least=1),
            "namespace": _text("The policy's own namespace, if it is written at all.", 63),
        },
        ("kind", "name"),
    )
    number = {"type": "integer", "format": "int32", "description": "The port.", "minimum": 1, "maximum": 65535}
    spoken = "http: told apart by the requests' authority; https, tls: by the server name; tcp: by address only."
    port = _map(
        "A port that is called, and what is spoken there.",
        {
            "number": number,
            "protocol": {**_text(spoken, 16), "enum": ["http", "https", "tls", "tcp"]},
            "name": _text("A name; nothing refers to it.", 63),
        },
        ("number", "protocol"),
    )
    group = _map(
        "A route group in the policy's namespace, or some of its matches.",
        {
            "apiGroup": _text("The group of the kind: specs.smi-spec.io."),
            "kind": {**_text("HTTPRouteGroup.", 64), "enum": ["HTTPRouteGroup"]},
            "name": _text("Name of the route group.", least=1),
            "matches": _list("Names of its matches; none for all.", _text("A name.", 1024, 1), 1024),
        },
        ("kind", "name"),
    )
    hosts = "Names that may be called, such as api.example.org, or *.example.org for all below it. Weft looks them up."
    cidrs = "Networks that may be called. Beside hosts both must hold."
    properties = {
        "sources": {**_list("Who may call.", source, 256), "minItems": 1},
        "ports": {**_list("The ports that may be called.", port, 64), "minItems": 1},
        "hosts": _list(hosts, _text("A name.", 255, 1), 256),
        "cidrs": _list(cidrs, _text("ADDRESS/LENGTH.", 49, 1), 256),
        "matches": _list("Requests that may be sent, on http ports; every one if left out.", group, 64),
    }
    about = "EgressPolicy says which addresses outside the mesh may be called where all others are refused."
    return _map(about, {"spec": _map("The grant.", properties, ("sources", "ports"))}, ("spec",))
