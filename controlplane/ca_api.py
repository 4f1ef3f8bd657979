"""The certificate authority in the admin API: how it stands, and the three things a person may ask of it.

Rule: who asks for something must be on this machine (loopback or the Unix socket), where a web page is not enough, or
have the right in the cluster. No key is ever shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from fastapi import APIRouter, HTTPException, Request

from ca.advancing import rotating
from ca.authority import Authority
from ca.rotation import Action, Wish, root_due
from ca.settling import Issuers, fingerprint
from ca.storage import StorageError
from controlplane.door.here import check_here
from kube.clock import SYSTEM_CLOCK, Clock

SHOWN: Final = 100
"""Names in a list, at most."""


def ca_routes(
    authority: Authority,
    clock: Clock = SYSTEM_CLOCK,
    provider: Callable[[], dict[str, Any] | None] = lambda: None,
) -> APIRouter:
    """GET /ca, POST /ca/rotate, POST /ca/rollback and POST /ca/trust-domain."""
    routes = APIRouter()

    @routes.get("/ca")
    async def status() -> dict[str, Any]:
        return {**ca_view(authority, clock.now()), "provider": provider()}

    @routes.post("/ca/rotate")
    async def rotate(request: Request, root: bool = False) -> dict[str, Any]:
        await _ask(request, authority, Wish.ROOT if root else Wish.INTERMEDIATE)
        return ca_view(authority, clock.now())

    @routes.post("/ca/rollback")
    async def rollback(request: Request) -> dict[str, Any]:
        await _ask(request, authority, Wish.BACK)
        return ca_view(authority, clock.now())

    @routes.post("/ca/trust-domain")
    async def rename(request: Request, name: str) -> dict[str, Any]:
        if provider() is not None:
            raise HTTPException(409, "the trust domain is changed by Weft's own authority only, not with a provider")
        await _carried_out(request, lambda: authority.rename(name))
        return ca_view(authority, clock.now())

    return routes


def ca_view(authority: Authority, now: datetime) -> dict[str, Any]:
    """Issuers with the seconds they have left, the rotation under way, and who is waited for. JSON values."""
    issuers, progress = authority.issuers, authority.progress
    waiting = progress.onlookers if progress is not None and rotating(issuers) else None
    return {
        "root": {**_certificate(issuers.root.certificate, now), "due": root_due(issuers.root.validity).isoformat()},
        "intermediate": _certificate(issuers.intermediate.certificate, now),
        "leaf_seconds": authority.lifetimes.leaf.total_seconds(),
        "bundle": [_certificate(each, now) for each in issuers.roots],
        "older_roots_served": len(issuers.rotation.crossed),
        "rotation": {
            "phase": phase(issuers),
            "reason": issuers.rotation.reason,
            "since": issuers.rotation.since.isoformat() if issuers.rotation.since is not None else None,
            "asked": str(issuers.rotation.wish),
            "step": str(progress.step.action if progress is not None else Action.KEEP),
            "why": progress.step.reason if progress is not None else "",
            "replicas_behind": list(waiting.behind[:SHOWN]) if waiting is not None else [],
            "not_acknowledged": list(waiting.lacking[:SHOWN]) if waiting is not None else [],
            "away": list(waiting.away[:SHOWN]) if waiting is not None else [],
        },
        "trust_domain": {
            "signs": issuers.domains.signs,
            "accepted": list(authority.peers.domains or issuers.domains.accepted),
            "phase": domain_phase(issuers),
            "next": issuers.domains.next,
            "previous": issuers.domains.previous,
            "since": issuers.domains.since.isoformat() if issuers.domains.since is not None else None,
        },
        "trouble": authority.trouble,
    }


def phase(issuers: Issuers) -> str:
    """How far a rotation of the root has come: `none`, `distribute` or `drain`."""
    if issuers.rotation.next_root is not None:
        return "distribute"
    return "drain" if issuers.rotation.previous_root is not None else "none"


def domain_phase(issuers: Issuers) -> str:
    """How far a change of the trust domain has come: `none`, `distribute` or `drain`."""
    if issuers.domains.next:
        return "distribute"
    return "drain" if issuers.domains.previous else "none"


def _certificate(certificate: x509.Certificate, now: datetime) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "sha256": fingerprint(certificate),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "seconds_left": int((certificate.not_valid_after_utc - now).total_seconds()),
    }


async def _ask(request: Request, authority: Authority, wish: Wish) -> None:
    await _carried_out(request, lambda: authority.ask(wish))


async def _carried_out(request: Request, work: Callable[[], Awaitable[None]]) -> None:
    check_here(request, "this is only done for somebody on the control plane's own machine or in its pod")
    try:
        await work()
    except StorageError as error:
        raise HTTPException(409, str(error)) from None
