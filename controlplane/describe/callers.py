"""Who may call a port, in people's words: by which TrafficTarget, route object and match.

Rule: rows are made of the InboundPort's own rules; the objects are asked only for the names of what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.describe.scene import Scene
from kube.enrolment import ACCESS, MTLS
from kube.objects import Pod
from mesh.model import HttpRule, Identity, InboundPort, Protocol, TcpRule
from mesh.reasons import Reason
from mesh.settings import Mtls
from mesh.verdicts import EVERY_REQUEST, in_words
from smi.kinds import HttpMatch, TCPRoute

EVERYONE = "every meshed caller"
EVERY_CONNECTION = "every connection"


def port_view(scene: Scene, pod: Pod, port: InboundPort) -> dict[str, Any]:
    """A port, its modes, who may use it and what becomes of all others. JSON values."""
    reasons = scene.reasons(pod)
    return {
        "port": port.port,
        "protocol": str(port.protocol),
        "services": [str(each) for each in scene.leading_to(pod, port.port)],
        "mtls": reason_view(reasons.of_port(MTLS, port.port)),
        "access": reason_view(reasons.of_port(ACCESS, port.port)),
        "callers": callers(scene, port),
        "otherwise": otherwise(port),
    }


def reason_view(reason: Reason) -> dict[str, str]:
    """A mode and because of what it holds."""
    return {"value": reason.value, "because": reason.words}


def callers(scene: Scene, port: InboundPort) -> list[dict[str, Any]]:
    """One row for everything that lets somebody in."""
    if port.open:
        anybody = [EVERYONE, *(["anybody in plaintext"] if port.mtls is Mtls.PERMISSIVE else [])]
        what = EVERY_CONNECTION if port.protocol is Protocol.TCP else EVERY_REQUEST
        return [_row(anybody, what, "", "permissive access")]
    rows = [row for rule in port.http_rules for row in _http_rows(scene, rule)]
    return rows + [row for rule in port.tcp_rules for row in _tcp_rows(scene, rule, port)]


def otherwise(port: InboundPort) -> str:
    """What becomes of calls that no row is about, as a sentence."""
    refused = "closed" if port.protocol is Protocol.TCP else "answered 403"
    if port.open and port.mtls is Mtls.PERMISSIVE:
        return "Nobody is refused."
    if port.open:
        return "Plaintext is refused: the connection is closed."
    plaintext = f"is {refused}, plaintext too" if port.mtls is Mtls.PERMISSIVE else f"is {refused}; plaintext is closed"
    kind = "connection" if port.protocol is Protocol.TCP else "request"
    return f"Every other {kind} {plaintext}."


def who(identity: Identity, trust_domain: str) -> str:
    """An identity as people of a mesh write it: those of other meshes by their SPIFFE ID."""
    own = identity.trust_domain == trust_domain
    return f"{identity.namespace}/{identity.service_account}" if own else identity.uri


def _http_rows(scene: Scene, rule: HttpRule) -> list[dict[str, Any]]:
    names = _names(scene, rule)
    if not rule.matches:
        return [_row(names, EVERY_REQUEST, rule.origin, _tcp_routes(scene, rule.origin))]
    return [_row(names, in_words(match), rule.origin, _found_in(scene, rule.origin, match)) for match in rule.matches]


def _tcp_rows(scene: Scene, rule: TcpRule, port: InboundPort) -> list[dict[str, Any]]:
    what = EVERY_CONNECTION if port.protocol is Protocol.TCP else f"{EVERY_CONNECTION} that is not HTTP"
    return [
        _row(
            _names(scene, rule),
            what,
            rule.origin,
            _tcp_routes(scene, rule.origin),
        )
    ]


def _names(scene: Scene, rule: HttpRule | TcpRule) -> list[str]:
    return [who(identity, scene.settings.trust_domain) for identity in rule.identities]


def _row(names: Iterable[str], what: str, target: str, route: str) -> dict[str, Any]:
    return {"callers": list(names), "may": what, "target": target, "route": route}


def _found_in(scene: Scene, origin: str, match: HttpMatch) -> str:
    """The route group that has this match, and its name there."""
    target = scene.targets.get(origin)
    groups = [group for group in scene.groups(target) if match in group.matches] if target else []
    return ", ".join(f"{group.kind} {group.name} / {match.name}" for group in groups)


def _tcp_routes(scene: Scene, origin: str) -> str:
    target = scene.targets.get(origin)
    names = [rule.name for rule in target.rules if rule.kind == TCPRoute.__name__] if target else []
    return ", ".join(f"TCPRoute {name}" for name in names)
