"""One concrete question, as a person types it: who calls which port, and with which request.

Rule: what is left open is filled in with what is usual, and the answer repeats all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel

from controlplane.describe.scene import Scene
from mesh.federated import identity_of
from mesh.model import Identity, Protocol
from mesh.verdicts import HttpRequest

PLAINTEXT: Final = "plaintext"
"""What stands for a caller without a sidecar."""
_SIDECARS: Final = ("x-forwarded-", "x-envoy-")
"""Headers that sidecars set or take away themselves begin so."""


class QuestionError(ValueError):
    """The question can't be understood; the text is a sentence."""


class Question(BaseModel):
    """As it is sent. `caller` is `NAMESPACE/SERVICEACCOUNT`, a SPIFFE ID or `plaintext`; `header` are `name: value`."""

    caller: str
    port: int | None = None
    method: str = "GET"
    path: str = "/"
    header: list[str] = []
    tcp: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """As it is understood; no caller: plaintext, no request: a connection that is not looked into."""

    caller: Identity | None
    port: int
    request: HttpRequest | None = field(default_factory=HttpRequest)


def understood(scene: Scene, named: tuple[str, str], question: Question) -> Asked:
    """The question about a pod. Raises QuestionError and UnknownError."""
    port = question.port or _only_port(scene, named)
    headers = _headers(question.header)
    services = scene.leading_to(scene.pod(*named), port)
    headers.setdefault("host", f"{services[0].service.name}.{named[0]}" if services else named[1])
    request = None if question.tcp else HttpRequest(question.method.upper(), question.path, headers)
    return Asked(_caller(scene, question.caller), port, request)


def _caller(scene: Scene, text: str) -> Identity | None:
    if text == PLAINTEXT:
        return None
    if text.startswith("spiffe://") and (found := identity_of(text)):
        return found
    namespace, slash, account = text.partition("/")
    if not (namespace and slash and account) or "/" in account:
        raise QuestionError(f"{text!r} is not of the form NAMESPACE/SERVICEACCOUNT (or {PLAINTEXT!r}).")
    return Identity(scene.settings.trust_domain, namespace, account)


def _only_port(scene: Scene, named: tuple[str, str]) -> int:
    """The port that is meant where none is named: the only one, or the only one where requests can be seen."""
    workload = scene.workload(scene.pod(*named))
    if workload is None:
        return 0
    ports = workload.ports
    chosen = ports if len(ports) == 1 else [port for port in ports if port.protocol is not Protocol.TCP]
    if len(chosen) != 1:
        known = ", ".join(str(port.port) for port in ports) or "none"
        raise QuestionError(f"Say which port with --port; ports there: {known}.")
    return chosen[0].port


def _headers(written: list[str]) -> dict[str, str]:
    headers: dict[str, list[str]] = {}
    for text in written:
        name, colon, value = text.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise QuestionError(f"{text!r} is no header: write 'name: value'.")
        if name.startswith(_SIDECARS):
            raise QuestionError(f"Sidecars set {name} themselves, so nothing is said about it here.")
        headers.setdefault(name, []).append(value.strip())
    return {name: ",".join(values) for name, values in headers.items()}
