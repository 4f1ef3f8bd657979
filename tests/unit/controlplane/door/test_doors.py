"""Who is let in to the admin API: whoever is here, and elsewhere whoever has the right (fail closed)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Request

from asked_api import HERE, asked
from controlplane.client import ASKING
from controlplane.door.doors import GuardedDoor, plain_door
from controlplane.door.here import check_here
from controlplane.door.rights import needed
from controlplane.door.tokens import AUDIENCE, MOST, Tokens
from controlplane.metrics_api.rights import Rights
from fake_clock import FakeClock
from kube.client import ApiError, ApiUnavailable

ELSEWHERE = ("10.0.0.9", 1)
LOCAL = {"host": "127.0.0.1:15014"}


def api() -> FastAPI:
    made = FastAPI()

    @made.get("/{path:path}")
    async def look(path: str) -> str:
        return path

    @made.post("/{path:path}")
    async def change(request: Request) -> str:
        check_here(request, "not from there")
        return "done"

    return made


class Cluster:
    """Answers TokenReviews and SubjectAccessReviews from what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.users: dict[tuple[str, str], str] = {("good", ""): "ann", ("mine", AUDIENCE): "bob", ("idle", ""): "eve"}
        self.granted: set[tuple[str, str]] = {
            ("ann", "proxies"),
            ("bob", "problems"),
            ("ann", "ca"),
            ("ann", "/metrics"),
        }
        self.reviewed: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Any:
        assert method == "POST"
        if self.failure is not None:
            raise self.failure
        spec = body["spec"]
        self.reviewed.append(spec)
        if path.endswith("tokenreviews"):
            audience = "".join(spec.get("audiences") or [])
            name = self.users.get((spec["token"], audience))
            if name is None:
                return {"status": {"authenticated": False}}
            user = {"username": name, "uid": "7", "groups": ["people"], "extra": {"k": ["v"]}}
            return {"status": {"authenticated": True, "audiences": [audience or "https://api"], "user": user}}
        wanted = spec.get("resourceAttributes") or spec["nonResourceAttributes"]
        return {"status": {"allowed": (spec["user"], wanted.get("resource") or wanted["path"]) in self.granted}}


class Guarded:
    """The guarded door of a cluster."""

    def __init__(self) -> None:
        self.cluster, self.clock = Cluster(), FakeClock()
        self.door = GuardedDoor(api(), Tokens(self.cluster, self.clock), Rights(self.cluster, self.clock))

    async def __call__(self, path: str, token: str = "", method: str = "GET", **headers: str) -> int:
        given = {"authorization": f"Bearer {token}"} if token else {}
        code, _ = await asked(self.door, method, path, ELSEWHERE, {**given, **headers})  # type: ignore[arg-type]
        return code


@pytest.mark.parametrize("client", [HERE, ("::1", 1), ("::ffff:127.0.0.1", 1), ("", 0)])
async def test_whoever_is_here_is_answered_at_the_plain_door(client: tuple[str, int]) -> None:
    assert (await asked(plain_door(api()), "GET", "/proxies", client, LOCAL))[0] == 200  # type: ignore[arg-type]


@pytest.mark.parametrize("client", [ELSEWHERE, ("2001:db8::1", 1), ("::ffff:10.0.0.9", 1), ("nonsense", 1)])
async def test_others_learn_health_and_numbers_there_and_nothing_else(client: tuple[str, int]) -> None:
    door = plain_door(api())
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await asked(door, "GET", path, client, LOCAL))[0] == 200  # type: ignore[arg-type]
    for path in ("/proxies", "/config/shop/web-1", "/ca", "/openapi.json", "/", "//healthz", "/healthz/", "/tap"):
        code, answer = await asked(door, "GET", path, client, LOCAL)  # type: ignore[arg-type]
        assert (code, "15016" in answer["detail"]) == (403, True), path
    assert (await asked(door, "POST", "/healthz", client, LOCAL))[0] == 403  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "code"),
    [("localhost:15014", 200), ("[::1]:15014", 200), ("10.1.2.3:15014", 200), ("evil.example", 403), ("[evil]", 403)],
)
async def test_a_name_that_was_made_to_lead_here_is_refused(host: str, code: int) -> None:
    assert (await asked(plain_door(api()), "GET", "/proxies", HERE, {"host": host}))[0] == code  # type: ignore[arg-type]


async def test_a_web_page_changes_nothing() -> None:
    door = plain_door(api())
    assert (await asked(door, "POST", "/ca/rotate", HERE, LOCAL))[0] == 403  # type: ignore[arg-type]
    assert (await asked(door, "POST", "/ca/rotate", HERE, {**LOCAL, ASKING: "x"}))[0] == 200  # type: ignore[arg-type]


async def test_a_token_and_the_right_open_the_guarded_door() -> None:
    ask = Guarded()
    assert await ask("/proxies", "good") == 200
    review = ask.cluster.reviewed[-1]
    assert (review["user"], review["uid"], review["groups"], review["extra"]) == ("ann", "7", ["people"], {"k": ["v"]})
    assert await ask("/problems", "good") == 403
    assert await ask("/problems", **{"weft-token": "Bearer mine"}) == 200
    assert await ask("/ca/rotate", "good", "POST") == 200
    assert await ask("/metrics", "good") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": "good"}, {"authorization": "Basic good"}, {"authorization": "Bearer "},
        {"authorization": "Bearer bad"}, {"authorization": "Bearer mine"}, {"weft-token": "Bearer good"},
        {"weft-token": "Bearer", "authorization": "Bearer good"}, {"authorization": "Bearer g\xf6\xf6d"},
        {"authorization": f"Bearer {'x' * 20_000}"},
    ],
)  # fmt: skip
async def test_what_proves_nobody_opens_nothing(headers: dict[str, str]) -> None:
    ask = Guarded()
    assert await ask("/proxies", **headers) == 401
    assert await ask("/healthz", **headers) == 200


async def test_being_here_is_no_right_at_the_guarded_door() -> None:
    ask = Guarded()
    assert (await asked(ask.door, "GET", "/proxies", HERE, {ASKING: "x"}))[0] == 401  # type: ignore[arg-type]


async def test_an_api_server_that_does_not_answer_opens_nothing_and_is_told_as_that() -> None:
    ask = Guarded()
    for failure in (ApiUnavailable("no token here"), ApiError(403, "Forbidden", "you may not"), TimeoutError()):
        ask.cluster.failure = failure
        assert await ask("/proxies", "good") == 503
    ask.cluster.failure = None
    assert await ask("/proxies", "good") == 200
    ask.cluster.failure = ApiUnavailable("away")
    assert await ask("/proxies", "good") == 200, "what was just known holds"
    await ask.clock.advance(timedelta(seconds=11))
    assert await ask("/proxies", "good") == 503


async def test_answers_hold_for_seconds_and_a_right_that_is_taken_away_goes() -> None:
    ask = Guarded()
    for _ in range(5):
        assert await ask("/proxies", "good") == 200
    assert len(ask.cluster.reviewed) == 2
    ask.cluster.granted.clear()
    await ask.clock.advance(timedelta(seconds=11))
    assert await ask("/proxies", "good") == 403


async def test_who_brings_bad_tokens_again_and_again_is_not_asked_about_any_more() -> None:
    ask = Guarded()
    codes = [await ask("/proxies", f"bad{index}") for index in range(30)]
    assert codes[:10] == [401] * 10
    assert set(codes[12:]) == {429}
    assert len(ask.cluster.reviewed) <= 12


async def test_who_asks_for_what_is_not_his_again_and_again_holds_up_himself_alone() -> None:
    ask = Guarded()
    codes = [await ask(f"/config/shop/web-{index}", "idle") for index in range(30)]
    assert codes[:10] == [403] * 10
    assert set(codes[12:]) == {429}
    assert await ask("/proxies", "good") == 200


async def test_tokens_are_remembered_as_hashes_and_not_without_end() -> None:
    cluster = Cluster()
    tokens = Tokens(cluster, FakeClock())
    for index in range(MOST + 10):
        await tokens.bearer(f"secret-{index}")
    assert len(tokens._answers) == MOST
    assert "secret-" not in repr(vars(tokens)).replace(repr(cluster), "")


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/proxies", {"resource": "proxies", "verb": "get"}),
        ("GET", "/config/shop/web-1", {"resource": "config", "namespace": "shop", "name": "web-1", "verb": "get"}),
        ("GET", "/describe/pod/shop/web-1",
         {"resource": "describe", "subresource": "pod", "namespace": "shop", "name": "web-1", "verb": "get"}),
        ("GET", "/tap", {"resource": "tap", "verb": "watch"}),
        ("POST", "/tap", {"resource": "tap", "verb": "create"}),
        ("POST", "/ca/rotate", {"resource": "ca", "subresource": "rotate", "verb": "create"}),
        ("PURGE", "/ca", {"resource": "ca", "verb": "*"}),
        ("GET", "/a/b/c/d/e", {"resource": "a", "subresource": "b/c/d/e", "verb": "get"}),
    ],
)  # fmt: skip
def test_a_path_needs_a_right_of_its_name(method: str, path: str, wanted: dict[str, str]) -> None:
    assert needed(method, path) == {"group": "admin.weft.dev", **wanted}


@pytest.mark.parametrize("path", ["/metrics", "/", "//", "/ca//rotate", "//ca", ""])
def test_what_names_no_resource_is_a_path(path: str) -> None:
    assert needed("GET", path) == {"path": path, "verb": "get"}
