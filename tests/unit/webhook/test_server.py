"""The webhook's HTTP API over a real connection: what is answered, what is refused, and in which words."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn

from controlplane.listening.connection import Bounds, Connection
from controlplane.listening.server import Server
from kube.client import ApiUnavailable
from webhook import server
from webhook.decision import NamespaceView
from webhook.server import Parts, State, webhook_api
from webhook.settings import InjectorSettings

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web"}]}}
Ask = Callable[..., Coroutine[Any, Any, tuple[int, Any, dict[str, str]]]]


def question(pod: Any = None) -> dict[str, Any]:
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request = {"uid": "u", "operation": "CREATE", "resource": resource, "namespace": "shop", "object": pod or POD}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def conversion(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": {"uid": "u"}, **more}


def echo(document: dict[str, Any]) -> dict[str, Any]:
    """Says yes to all, and what it was asked."""
    response = {"uid": "u", "allowed": True, "result": {"status": "Success"}, "asked": document["kind"]}
    return {"kind": document["kind"], "response": response}


def broken(document: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("a mistake of ours")


def parts(**more: Any) -> Parts:
    chosen: dict[str, Any] = {"injector": InjectorSettings(), "validate": echo, "convert": echo}
    return Parts(**chosen | more)


@asynccontextmanager
async def serving(made: Parts) -> AsyncIterator[Ask]:
    """The API on loopback, and a way to ask it: method, path, JSON or bytes -> code, JSON or text, headers."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = uvicorn.Config(webhook_api(made), http=Connection, log_config=None, access_log=False, lifespan="off")
    running = Server(config, Bounds())
    task = asyncio.create_task(running.serve(sockets=[listening]))
    async with aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
            kind = {"json": body} if isinstance(body, dict) else {"data": body}
            where = f"http://127.0.0.1:{port}{path}"
            async with session.request(method, where, **kind, headers=headers) as response:
                found = await (response.json() if "json" in response.content_type else response.text())
                return response.status, found, dict(response.headers)

        try:
            yield ask
        finally:
            running.should_exit = True
            await task


async def test_a_pod_that_was_selected_gets_its_sidecar() -> None:
    async with serving(parts()) as ask:
        code, found, headers = await ask("POST", "/inject", question())
    assert (code, found["response"]["uid"], found["response"]["patchType"]) == (200, "u", "JSONPatch")
    assert headers["Content-Type"] == "application/json"


async def test_marks_of_other_meshes_are_looked_for_in_the_namespace() -> None:
    views = {"shop": NamespaceView("shop", {}, {"linkerd.io/inject": "enabled"})}

    async def look(name: str) -> NamespaceView:
        return views[name]

    async with serving(parts(namespace=look, injector=InjectorSettings(other_meshes=True))) as ask:
        _, marked, _ = await ask("POST", "/inject/marks", question())
        views["shop"] = NamespaceView("shop")
        _, unmarked, _ = await ask("POST", "/inject/marks", question())
    assert "patch" in marked["response"]
    assert unmarked["response"] == {
        "uid": "u",
        "allowed": True,
        "auditAnnotations": {
            "injection": "no label weft.dev/inject: enabled on it or its namespace asks for a sidecar"
        },
    }


async def test_a_namespace_that_cannot_be_read_leaves_the_decision_to_the_fail_policy() -> None:
    async def away(_name: str) -> NamespaceView:
        raise ApiUnavailable("away")

    async with serving(parts(namespace=away, injector=InjectorSettings(other_meshes=True))) as ask:
        code, words, _ = await ask("POST", "/inject/marks", question())
    assert (code, words) == (503, "the pod's namespace could not be read\n")


async def test_validation_and_conversion_are_answered_by_theirs() -> None:
    async with serving(parts()) as ask:
        _, validated, _ = await ask("POST", "/validate", question())
        _, converted, _ = await ask("POST", "/convert", conversion())
    assert [validated["response"]["asked"], converted["response"]["asked"]] == ["AdmissionReview", "ConversionReview"]


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        ("/inject", b"", 400, "the body is no JSON"),
        ("/inject", b"{", 400, "the body is no JSON"),
        ("/inject", b"[]", 400, "the body is no JSON object"),
        ("/inject", b"\xff", 400, "the body is no JSON"),
        ("/inject", b"[" * 100_000, 400, "the body is nested too deeply"),
        ("/inject", b"{}", 400, "this is no AdmissionReview"),
        ("/inject/marks", b"{}", 400, "this is no AdmissionReview"),
        ("/validate", b"{}", 400, "this is no AdmissionReview"),
        ("/convert", b"{}", 400, "this is no ConversionReview of apiextensions.k8s.io/v1"),
    ],
)
async def test_bad_questions_are_answered_400_with_words(path: str, body: bytes, code: int, words: str) -> None:
    async with serving(parts()) as ask:
        found, text, _ = await ask("POST", path, body, **{"Content-Type": "application/json"})
    assert found == code
    assert text.startswith(words)


async def test_a_conversion_without_a_request_is_a_bad_question() -> None:
    async with serving(parts()) as ask:
        code, text, _ = await ask("POST", "/convert", conversion(request=None))
    assert (code, text) == (400, "its request is missing\n")


async def test_other_content_types_are_refused() -> None:
    async with serving(parts()) as ask:
        code, text, _ = await ask("POST", "/inject", b"{}", **{"Content-Type": "application/yaml"})
        with_charset, _, _ = await ask("POST", "/inject", b"{}", **{"Content-Type": "Application/JSON; charset=utf-8"})
    assert (code, text) == (415, "Content-Type must be application/json\n")
    assert with_charset == 400


async def test_what_is_too_long_is_refused_whether_announced_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SMALL", 1000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    async with serving(parts()) as ask:
        announced, text, _ = await ask("POST", "/inject", b" " * 1001, **{"Content-Type": "application/json"})
    assert (announced, text) == (413, "the body is longer than 1000 bytes\n")
    async with serving(parts()) as ask:
        # An iterator has no length, so it goes in chunks.
        code, _, _ = await ask("POST", "/inject", pieces(), **{"Content-Type": "application/json"})
    assert code == 413


async def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    gone = asyncio.Event()

    async def nothing() -> AsyncIterator[bytes]:
        yield b"{"
        await gone.wait()

    async with serving(parts()) as ask:
        code, _, _ = await ask("POST", "/inject", nothing(), **{"Content-Type": "application/json"})
    assert code == 408


async def test_a_mistake_of_ours_is_500_and_the_next_question_is_answered() -> None:
    async with serving(parts(validate=broken)) as ask:
        code, text, _ = await ask("POST", "/validate", question())
        after, _, _ = await ask("POST", "/inject", question())
    assert (code, text, after) == (500, "Weft failed to answer; its log says why\n", 200)


async def test_a_long_conversion_keeps_nobody_else_waiting() -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(document: dict[str, Any]) -> dict[str, Any]:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        return echo(document)

    async with serving(parts(convert=slow)) as ask:
        waiting = asyncio.create_task(ask("POST", "/convert", conversion()))
        await begun.wait()
        code, _, _ = await ask("POST", "/inject", question())
        go_on.set()
        assert (code, (await waiting)[0]) == (200, 200)


async def test_heavy_questions_are_taken_one_at_a_time_and_others_meanwhile() -> None:
    begun, go_on, asked = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def slow(document: dict[str, Any]) -> dict[str, Any]:
        asked.append(len(document))
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        return echo(document)

    heavy = json.dumps(conversion(long="x" * (server.LIGHT + 1))).encode()
    kind = {"Content-Type": "application/json"}
    async with serving(parts(convert=slow)) as ask:
        waiting = [asyncio.create_task(ask("POST", "/convert", io.BytesIO(heavy), **kind)) for _ in range(3)]
        await begun.wait()
        assert (await ask("POST", "/inject", question()))[0] == 200
        assert len(asked) == 1
        go_on.set()
        assert [code for code, _, _ in await asyncio.gather(*waiting)] == [200] * 3
    assert len(asked) == 3


async def test_what_would_take_much_more_memory_than_it_is_long_is_not_decoded() -> None:
    bomb = b'{"a":[' + b"[]," * server.MOST_VALUES + b"1]}"
    async with serving(parts()) as ask:
        code, text, _ = await ask("POST", "/inject", io.BytesIO(bomb), **{"Content-Type": "application/json"})
    assert (code, text) == (413, f"the body has more than {server.MOST_VALUES} values\n")


async def test_it_is_not_ready_and_keeps_no_connection_when_it_leaves() -> None:
    state = State()
    async with serving(parts(state=state)) as ask:
        assert (await ask("GET", "/readyz"))[:2] == (200, {"ready": True, "why": ""})
        _, _, headers = await ask("POST", "/inject", question())
        assert "Connection" not in headers
        state.leaving = True
        assert (await ask("GET", "/readyz"))[:2] == (503, {"ready": False, "why": "it is shutting down"})
        assert (await ask("GET", "/healthz"))[:2] == (200, {"status": "ok"})
        code, _, headers = await ask("POST", "/inject", question())
    assert (code, headers["Connection"]) == (200, "close")


async def test_questions_are_counted_by_path_and_outcome() -> None:
    async with serving(parts(validate=broken)) as ask:
        await ask("POST", "/inject", question())
        await ask("POST", "/inject", question({"metadata": {}, "spec": {"containers": [], "hostNetwork": True}}))
        await ask("POST", "/inject", {})
        await ask("POST", "/validate", question())
        _, text, _ = await ask("GET", "/metrics")
    for line in (
        'weft_webhook_reviews_total{outcome="injected",path="inject"} 1.0',
        'weft_webhook_reviews_total{outcome="left-alone",path="inject"} 1.0',
        'weft_webhook_reviews_total{outcome="bad-request",path="inject"} 1.0',
        'weft_webhook_reviews_total{outcome="error",path="validate"} 1.0',
        'weft_webhook_seconds_count{path="inject"} 2.0',
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/", "/inject"])
async def test_nothing_else_is_served(path: str) -> None:
    async with serving(parts()) as ask:
        code, _, _ = await ask("GET", path)
    assert code in {404, 405}
