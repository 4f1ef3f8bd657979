"""Two doors to the admin API: a plain one for this machine, and one for those who show a token and have the right.

Rule: closed until something opens it. Health is open at both; numbers without names (metrics) at the plain one too, for
it is where Prometheus looks. What can't be found out now is 503, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
import structlog

from controlplane.door.here import ALLOWED, is_here, names_us
from controlplane.door.rights import GROUP, METRICS, READ, needed
from controlplane.door.tokens import AUDIENCE, Tokens
from controlplane.metrics_api.callers import User
from controlplane.metrics_api.rights import Rights
from kube.client import ApiError, ApiUnavailable
from proxy import ports
from xds.peer import Reason
from xds.refusals import Refusals

log = structlog.get_logger(__name__)

HEALTH: Final = frozenset({"/healthz", "/readyz"})
TOKEN_HEADER: Final = "weft-token"  # noqa: S105 - the name of a header
"""Where a token of our own audience is looked for: the API server's proxy passes no Authorization on."""
SCHEME: Final = "bearer "
TOO_MANY: Final = (429, "too many requests were refused; ask again in a few seconds")
ELSEWHERE: Final = (
    f"here the admin API is for those on this machine (kubectl port-forward leads into the pod); ask with a token over "
    f"HTTPS at port {ports.ADMIN_TLS}"
)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def plain_door(app: App) -> App:
    """Everything for those who are here, health and metrics for everybody."""

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] in READ and scope["path"] in {*HEALTH, METRICS}:
            await app(scope, receive, send)
        elif not is_here(scope):
            await _say(send, 403, ELSEWHERE)
        elif not names_us(scope):
            await _say(send, 403, "name this machine by its address or as localhost")
        else:
            await app(scope, receive, send)

    return door


class GuardedDoor:
    """Health for everybody, and each of the rest for those who have a right to it."""

    def __init__(self, app: App, tokens: Tokens, rights: Rights, refusals: Refusals | None = None) -> None:
        self._app = app
        self._tokens = tokens
        self._rights = rights
        self._refusals = refusals or Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        if scope["type"] != "http":
            return
        if scope["method"] not in READ or scope["path"] not in HEALTH:
            code, words = await self._judged(scope)
            if code != 200:
                await _say(send, code, words)
                return
            scope[ALLOWED] = True
        await self._app(scope, receive, send)

    async def _judged(self, scope: Scope) -> tuple[int, str]:
        """200, or the refusal and its words."""
        address, (token, audience) = (scope.get("client") or [""])[0], _token(scope)
        if not token:
            return 401, f"a token is needed, as Authorization: Bearer … or {TOKEN_HEADER}: Bearer …"
        if self._refusals.wait(address):
            return TOO_MANY
        try:
            user = await self._tokens.bearer(token, audience)
            if user is None:
                self._refusals.refused(address, Reason.INVALID)
                return 401, "the token is nobody's here"
            return await self._granted(user, needed(scope["method"], scope["path"]))
        except (ApiError, ApiUnavailable, TimeoutError) as error:
            # Not the error's own words: the request, with its token, may be in them.
            log.warning("who asks can't be found out now", failure=type(error).__name__)
            return 503, "the API server does not say now who you are and what you may see"

    async def _granted(self, user: User, wanted: dict[str, str]) -> tuple[int, str]:
        asker = f"user {user.name}"
        if self._refusals.wait(asker):
            return TOO_MANY
        if await self._rights.allowed(user, wanted):
            return 200, ""
        self._refusals.refused(asker, Reason.ACCOUNT)
        return 403, f'User "{user.name}" cannot {_spelled(wanted)}'


def _token(scope: Scope) -> tuple[str, str]:
    """The token and whom it must be for; empty where there is none, or several."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        given.setdefault(name, []).append(value)
    for name, audience in ((TOKEN_HEADER, AUDIENCE), ("authorization", "")):
        if found := given.get(name.encode()):
            text = found[0].decode("latin-1")
            single = len(found) == 1 and text.lower().startswith(SCHEME)
            return (text[len(SCHEME) :].strip() if single else ""), audience
    return "", ""


def _spelled(wanted: dict[str, str]) -> str:
    if "path" in wanted:
        return f"{wanted['verb']} {wanted['path']}"
    what = "/".join(filter(None, (wanted["resource"], wanted.get("subresource", ""))))
    where = f' in the namespace "{wanted["namespace"]}"' if wanted.get("namespace") else ""
    return f'{wanted["verb"]} resource "{what}" in API group "{GROUP}"{where}'


async def _say(send: Send, code: int, words: str) -> None:
    body = msgspec.json.encode({"detail": words})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
