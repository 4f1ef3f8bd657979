"""The client: answers, refusals, no answer at all, lines of a watch, and credentials that change meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.config import ConfigException, incluster_config

from kube.client import ApiError, ApiUnavailable, Client, ClientSettings, ConfigurationError
from kube.configuration import load, trust
from scripted_api import connected, serving, write_kubeconfig


async def test_a_request_carries_path_query_body_and_credential(tmp_path: Path) -> None:
    seen: list[object] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.json()
        seen.append((request.method, request.path_qs, body, request.headers["Authorization"], request.content_type))
        return web.json_response({"done": True})

    async with connected(tmp_path, handler, {"token": "secret"}) as client:
        answer = await client.request(
            "PATCH", "/api/v1/nodes/a", query={"fieldManager": "a b+c"}, body={"x": 1},
            content_type="application/merge-patch+json",
        )  # fmt: skip
    assert answer == {"done": True}
    wanted = "/api/v1/nodes/a?fieldManager=a+b%2Bc"
    assert seen == [("PATCH", wanted, {"x": 1}, "Bearer secret", "application/merge-patch+json")]


async def test_a_refusal_has_the_servers_words(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        status = {"kind": "Status", "code": 409, "reason": "Conflict", "message": "been modified", "details": {"a": 1}}
        return web.json_response(status, status=409)

    async with connected(tmp_path, handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.request("PUT", "/x", body={})
    error = caught.value
    assert (error.code, error.reason, error.message, error.details) == (409, "Conflict", "been modified", {"a": 1})


async def test_a_refusal_that_is_no_status_is_told_as_it_is(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found\n")

    async with connected(tmp_path, handler) as client:
        with pytest.raises(ApiError) as caught:
            await client.request("GET", "/x")
    assert (caught.value.code, caught.value.reason, caught.value.message) == (404, "", "404 page not found")


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    async with serving(handler) as url:
        pass
    client = await Client.open(ClientSettings(write_kubeconfig(tmp_path / "config", url, {"token": "t"})))
    with pytest.raises(ApiUnavailable):
        await client.request("GET", "/x")
    await client.close()


async def test_an_answer_that_is_no_json_is_unavailable(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="{")

    async with connected(tmp_path, handler) as client:
        with pytest.raises(ApiUnavailable, match="no JSON"):
            await client.request("GET", "/x")


async def test_lines_are_whole_whatever_the_pieces_are(tmp_path: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"a":', b'1}\n{"b":2}\n\n{"c"', b":3}\n", b'{"cut'):
            await response.write(piece)
        return response

    async with connected(tmp_path, handler) as client, client.lines("/x", query={"watch": "1"}) as lines:
        found = [json.loads(line) async for line in lines]
    assert found == [{"a": 1}, {"b": 2}, {"c": 3}]


async def test_a_watch_that_breaks_is_unavailable(tmp_path: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        assert request.transport
        request.transport.abort()
        return response

    async with connected(tmp_path, handler) as client, client.lines("/x", query={}) as lines:
        assert await anext(lines) == b"{}"
        with pytest.raises(ApiUnavailable):
            await anext(lines)


async def test_a_watch_that_is_refused_is_an_api_error(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"reason": "Expired", "message": "too old"}, status=410)

    async with connected(tmp_path, handler) as client:
        with pytest.raises(ApiError) as caught:
            async with client.lines("/x", query={}):
                pass
    assert caught.value.code == 410


async def test_a_token_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        allowed = request.headers["Authorization"] == "Bearer new"
        return web.json_response({"reason": "Unauthorized"}, status=200 if allowed else 401)

    async with connected(tmp_path, handler, {"tokenFile": str(token)}) as client:
        with pytest.raises(ApiError):
            await client.request("GET", "/x")
        token.write_text("new")
        assert await client.request("GET", "/x")


async def test_an_exec_plugin_is_asked_for_the_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "p"}}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o700)
    seen = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    async with connected(tmp_path, handler, user) as client:
        await client.request("GET", "/x")
    assert seen == ["Bearer p"]


async def test_a_pod_uses_its_service_account_and_notices_a_rotated_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_bytes(b"one")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    found = await load(ClientSettings())
    assert found.host == "https://[::1]:6443"
    assert await found.get_api_key_with_prefix("BearerToken") == "bearer first"
    before = trust(found)
    token.write_text("second")
    again = await load(ClientSettings())
    assert await again.get_api_key_with_prefix("BearerToken") == "bearer second"
    assert trust(again) == before
    authority.write_bytes(b"two")
    assert trust(await load(ClientSettings())) != before


async def test_a_token_file_that_is_gone_for_a_moment_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({})

    def gone(_configuration: object) -> None:
        raise ConfigException("Token file exists but empty.")

    async with connected(tmp_path, handler) as client:
        monkeypatch.setattr(client._configuration, "refresh_api_key_hook", gone)
        with pytest.raises(ApiUnavailable, match="Token file"):
            await client.request("GET", "/x")


async def test_a_missing_kubeconfig_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        await Client.open()
    with pytest.raises(ConfigurationError, match="absent"):
        await Client.open(ClientSettings(tmp_path / "absent"))


async def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", {})
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await Client.open(ClientSettings(path, "elsewhere"))
