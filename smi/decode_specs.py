"""Reads specs.smi-spec.io HTTPRouteGroup and TCPRoute (v1alpha1 to v1alpha4) and UDPRoute (v1alpha4).

Rule: fail closed. A match that can't be read is set aside and never becomes a wider one, the matches beside it stand; a
list of ports that comes to nothing is not "all ports".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kube.decode import no_text
from smi import regex
from smi.kinds import HeaderMatch, HttpMatch, HTTPRouteGroup, TCPRoute, UDPRoute
from smi.reading import Part, Reading, port_number, short

VERSIONS: Final = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")

_OLD: Final = frozenset({"v1alpha1", "v1alpha2"})
"""The versions with `matches` at the top of the object."""

_TOP: Final = ("apiVersion", "kind", "metadata", "status")
_GROUP_EFFECT: Final = "the group matches nothing and grants nothing"
_MATCH_EFFECT: Final = "this match is set aside and grants nothing"
_ROUTE_EFFECT: Final = "the route is set aside and grants nothing"
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_METHOD: Final = re.compile(r"[A-Za-z][-_A-Za-z0-9]{0,63}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
"""A field name of RFC 9110, section 5.1."""


def read_group(reading: Reading) -> HTTPRouteGroup | None:
    """The group without the matches that could not be read; None if none can even be told apart."""
    body = _body(reading)
    parts = list(body.parts("matches", "F2", _MATCH_EFFECT))
    if not body.sound:
        return None
    if not parts:
        reading.warn(body.at("matches"), f"There are no matches, so {_GROUP_EFFECT}.", "A6")
    read = [(_name(part), _match(part)) for part in parts]
    _warn_of_twins(body, [name for name, _ in read])
    return HTTPRouteGroup(
        **reading.identity(),
        matches=tuple(match for _, match in read if match),
        invalid=frozenset(name for name, match in read if match is None and name),
    )


def _body(reading: Reading) -> Part:
    """The part that holds `matches`: the top until v1alpha2, then `spec`, or the top for old clients (rule V9)."""
    top = reading.top("decode", _GROUP_EFFECT)
    if reading.version in _OLD:
        top.ignore_others((*_TOP, "matches"))
        return top
    top.ignore_others((*_TOP, "spec", "matches"))
    spec = top.part("spec", required=top.get("matches") is None)
    spec.ignore_others(("matches",))
    if top.get("matches") is None:
        return spec
    if spec.get("matches") is None and spec.sound:
        return top
    reading.warn("matches", "This stands beside spec.matches; only spec.matches is read.", "V9")
    return spec


def _warn_of_twins(body: Part, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name and name in names[:index]:
            path = f"{body.at('matches')}[{index}].name"
            message = f"There is a match {short(name)} already; the name stands for both."
            body.reading.warn(path, message, "A6")


def _name(part: Part) -> str:
    return part.text("name", required=True) or ""


def _match(part: Part) -> HttpMatch | None:
    """One match; its name has been read before. A field nobody knows may have been meant to narrow it."""
    part.only(("name", "pathRegex", "methods", "headers"))
    path = part.text("pathRegex")
    if path is not None and (fault := regex.check(path)):
        _refuse(part, "A9", part.at("pathRegex"), f"{short(path)} {fault}")
    methods, headers = _methods(part), tuple(_headers(part))
    if not part.sound:
        return None
    return HttpMatch(name=part.value["name"] if part.value else "", methods=methods, path_regex=path, headers=headers)


def _methods(part: Part) -> frozenset[str]:
    """The methods; none stands for all (rule A11)."""
    written = part.texts("methods") or ()
    if "*" in written:
        return frozenset()
    methods = set()
    for index, method in enumerate(written):
        path = f"{part.at('methods')}[{index}]"
        if not _METHOD.fullmatch(method):
            _refuse(part, "A11", path, f"{short(method)} is no HTTP method")
        elif method not in _METHODS and method.upper() in _METHODS:
            message = f"HTTP methods are upper case; {method} is read as {method.upper()}."
            part.reading.warn(path, message, "A11")
            methods.add(method.upper())
        else:
            methods.add(method)
    if part.sound and (fault := regex.check("|".join(sorted(methods)), str)):
        _refuse(part, "A11", part.at("methods"), f"is a list that together {fault}")
    return frozenset(methods)


def _headers(part: Part) -> Iterator[HeaderMatch]:
    """The headers of a map, or of a list of maps (rule V6)."""
    for path, name, value in _header_fields(part):
        if not _HEADER_NAME.fullmatch(name):
            _refuse(part, "A10", path, f"{short(name)} is no name of a header")
        elif not isinstance(value, str):
            _refuse(part, "A10", path, no_text(value))
        elif fault := regex.check(value, regex.header_pattern):
            _refuse(part, "A10", path, f"{short(value)} {fault}")
        else:
            yield HeaderMatch(name=name.lower(), regex=value)


def _header_fields(part: Part) -> Iterator[tuple[str, str, Any]]:
    written = part.get("headers")
    holders = [Part(part.reading, written, part.at("headers"), part.rule, part.effect)]
    if isinstance(written, list):
        holders = list(part.parts("headers"))
    elif written is not None and not isinstance(written, dict):
        _refuse(part, "V6", part.at("headers"), f"must be a map or a list of maps, not {short(written)}")
        return
    for holder in holders:
        part.sound = part.sound and holder.sound
        for name, value in (holder.value or {}).items():
            yield f"{holder.path}[{name}]" if "." in name else holder.at(name), name, value


def _refuse(part: Part, rule: str, path: str, fault: str) -> None:
    """File a Problem under the rule of one field."""
    usual, part.rule = part.rule, rule
    part.refuse_at(path, fault)
    part.rule = usual


def read_tcp_route(reading: Reading) -> TCPRoute | None:
    """The route, or None if it grants nothing. Until v1alpha3 it has no body and is about all ports (rule V8)."""
    ports = _ports(reading)
    if ports and reading.version != "v1alpha4":
        message = f"TCPRoute has no ports in {reading.version}; the route is limited to these ports all the same."
        reading.warn("spec.matches.ports", message, "V8")
    return None if ports is None else TCPRoute(**reading.identity(), ports=ports)


def read_udp_route(reading: Reading) -> UDPRoute | None:
    """The route, or None if it is set aside. Whatever it says, no sidecar carries UDP."""
    ports = _ports(reading)
    reading.warn("", "UDP passes the mesh by, unencrypted and from anybody; no rule allows or refuses it.", "A4")
    return None if ports is None else UDPRoute(**reading.identity(), ports=ports)


def _ports(reading: Reading) -> tuple[int, ...] | None:
    """The ports; empty for all, None where what is written comes to nothing.

    A bad port beside good ones is left out. A field nobody knows may have been meant to narrow the route.
    """
    top = reading.top("A5", _ROUTE_EFFECT)
    top.only((*_TOP, "spec", "matches"))
    spec = top.part("spec")
    spec.only(("matches",))
    matches = (top if spec.get("matches") is None else spec).part("matches")
    matches.only(("name", "ports"))
    written = matches.items("ports")
    if not (top.sound and spec.sound and matches.sound):
        return None
    ports = []
    matches.effect = "this port is left out" if written and any(map(port_number, written)) else _ROUTE_EFFECT
    for index, item in enumerate(written or ()):
        number = port_number(item)
        if number is None:
            path = f"{matches.at('ports')}[{index}]"
            matches.refuse_at(path, f"must be a port number from 1 to 65535, not {short(item)}")
        else:
            ports.append(number)
    return tuple(ports) if ports or not written else None
