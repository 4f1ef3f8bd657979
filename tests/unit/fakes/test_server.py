"""What only the fake can do: its clock, and what tests let go wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from raw_api import RawApi
from tests.fakes.server import FakeApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[FakeApiServer]:
    server = FakeApiServer.start(clock)
    yield server
    server.stop()


@pytest.fixture
def api(server: FakeApiServer) -> RawApi:
    return RawApi(server.admin_kubeconfig)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_a_token_ends_by_the_servers_clock(api: RawApi, clock: Clock) -> None:
    spec = {"audiences": ["weft"], "expirationSeconds": 600}
    token = api("POST", TOKEN, {"spec": spec}).expect(201)["status"]["token"]
    review = {"spec": {"token": token, "audiences": ["weft"]}}
    assert api("POST", REVIEWS, review).expect(201)["status"]["authenticated"] is True
    clock.now += 661  # a minute of leeway
    assert "has expired" in api("POST", REVIEWS, review).expect(201)["status"]["error"]


def test_a_line_can_be_cut_in_half(server: FakeApiServer, api: RawApi) -> None:
    server.faults.cut_lines = 1
    with api.watch(MAPS) as events, pytest.raises((http.client.HTTPException, json.JSONDecodeError, ConnectionError)):
        next(events)
    with api.watch(MAPS) as events:
        assert next(events)["type"] == "ADDED"


def test_an_event_can_come_twice(server: FakeApiServer, api: RawApi) -> None:
    version = api("POST", MAPS, config_map("twice")).expect(201)["metadata"]["resourceVersion"]
    server.faults.duplicate_lines = 1
    with api.watch(MAPS, resourceVersion=version) as events:
        api("PATCH", f"{MAPS}/twice", {"data": {"a": "1"}}, content_type="application/merge-patch+json").expect()
        assert next(events) == next(events)


def test_requests_can_be_refused_so_many_times(server: FakeApiServer, api: RawApi) -> None:
    server.faults.refuse(f"GET {MAPS}", 503, times=2)
    assert [api("GET", MAPS).code for _ in range(3)] == [503, 503, 200]


def test_requests_can_be_noted(server: FakeApiServer, api: RawApi) -> None:
    server.faults.requests = []
    api("GET", MAPS)
    assert server.faults.requests == [("GET", MAPS)]
    server.faults.requests = None


def test_a_server_that_is_away_refuses_connections_and_ends_watches(server: FakeApiServer, api: RawApi) -> None:
    with api.watch(MAPS) as events:
        next(events)
        server.go_away()
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            list(events)  # comes to an end
    with pytest.raises(OSError, match="refused"):
        api("GET", MAPS)
    server.come_back()
    assert api("GET", MAPS).code == 200


def test_after_a_restart_everything_is_there_and_old_versions_are_not(server: FakeApiServer, api: RawApi) -> None:
    version = api("POST", MAPS, config_map("kept")).expect(201)["metadata"]["resourceVersion"]
    api("POST", MAPS, config_map("later")).expect(201)
    server.restart()
    assert api("GET", f"{MAPS}/kept").code == 200
    with api.watch(MAPS, resourceVersion=version) as events:
        event = next(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_bookmark_comes_when_it_is_asked_for(server: FakeApiServer, api: RawApi) -> None:
    version = api("GET", MAPS).expect()["metadata"]["resourceVersion"]
    with api.watch(MAPS, resourceVersion=version, allowWatchBookmarks="true") as events:
        api("POST", MAPS, config_map("marked")).expect(201)
        assert next(events)["type"] == "ADDED"
        server.bookmark()
        assert next(events)["type"] == "BOOKMARK"


def test_watches_can_be_ended_as_their_timeout_does(server: FakeApiServer, api: RawApi) -> None:
    version = api("GET", MAPS).expect()["metadata"]["resourceVersion"]
    with api.watch(MAPS, resourceVersion=version) as events:
        api("POST", MAPS, config_map("last")).expect(201)
        assert next(events)["type"] == "ADDED"
        server.end_watches()
        assert list(events) == []
