"""What asks the admin API, as `hostile_bytes.Parser`s: whoever is let in by either door had a right to be."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st

from controlplane.door.doors import HEALTH, GuardedDoor, plain_door
from controlplane.door.here import is_here
from controlplane.door.rights import METRICS, READ, needed
from controlplane.door.tokens import Tokens
from controlplane.metrics_api.rights import Rights
from fake_clock import FakeClock
from hostile_bytes import Parser, edited

GOOD = "good"
_PATHS = [
    b"/status", b"/config/shop/web-1", b"/describe/service/shop/web", b"/tap", b"/ca/rotate", b"/metrics", b"/healthz",
    b"/readyz", b"/traffic/stat", b"//ca", b"/ca/../healthz",
]  # fmt: skip
_METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "get", ""])
_TEXTS = [b"Bearer good", b"bearer bad", b"Basic Z29vZA==", b"localhost:15014", b"[::1]", b"127.0.0.1"]
_VALUES = st.sampled_from(_TEXTS) | edited(_TEXTS)
_HEADERS = st.lists(
    st.tuples(st.sampled_from([b"authorization", b"weft-token", b"host", b"x-forwarded-for", b"weft-ask"]), _VALUES),
    max_size=4,
)
_CLIENTS = st.sampled_from([("127.0.0.1", 1), ("10.0.0.9", 1), ("::ffff:127.0.0.1", 1), ("fe80::1%eth0", 1), ("", 0)])


class _Cluster:
    """An API server that knows one token, whose bearer may look and change nothing."""

    async def request(self, _method: str, path: str, *, query: Any = None, body: Any = None) -> Any:  # noqa: ARG002
        spec = body["spec"]
        if path.endswith("tokenreviews"):
            user = {"username": "somebody", "groups": ["a"]}
            return {
                "status": {"authenticated": spec["token"] == GOOD, "audiences": spec.get("audiences"), "user": user}
            }
        asked = spec.get("resourceAttributes") or spec.get("nonResourceAttributes")
        return {"status": {"allowed": asked["verb"] in {"get", "watch"}}}


def request(question: tuple[str, bytes, list[tuple[bytes, bytes]], tuple[str, int]]) -> None:
    """One request at each door."""
    method, path, headers, client = question
    scope = {
        "type": "http", "method": method, "path": path.decode("latin-1"), "headers": headers, "client": client,
    }  # fmt: skip
    healthy = method in READ and scope["path"] in HEALTH
    assert needed(method, path.decode("latin-1"))["verb"]
    if _lets_in(GuardedDoor(_opened, Tokens(_Cluster(), FakeClock()), Rights(_Cluster(), FakeClock())), dict(scope)):
        shown = [value.decode("latin-1") for name, value in headers if name in {b"authorization", b"weft-token"}]
        assert healthy or (
            method in READ and any(text.lower().startswith("bearer ") and GOOD in text for text in shown)
        )
    if _lets_in(plain_door(_opened), dict(scope)):
        assert healthy or is_here(scope) or (method in READ and scope["path"] == METRICS)
        assert client[0] != "10.0.0.9" or healthy or scope["path"] == METRICS


async def _opened(scope: Any, receive: Any, send: Any) -> None:
    scope["opened"] = True


def _lets_in(door: Any, scope: dict[str, Any]) -> bool:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(door(scope, None, send))
    opened = bool(scope.get("opened"))
    assert opened == (not said)
    assert opened or said[0]["status"] in {401, 403, 429, 503}
    return opened


PARSERS = (
    Parser(
        "admin-api-requests",
        st.tuples(_METHODS, st.sampled_from(_PATHS) | edited(_PATHS), _HEADERS, _CLIENTS),
        request,
        2,
    ),
)
