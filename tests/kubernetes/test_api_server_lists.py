"""Contract: lists in pages, selectors, and watches: what comes first, what comes again, and when history is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from api_server import ApiServer
from custom_kind import custom_kind, served
from raw_api import MERGE, Answer, RawApi


@pytest.fixture
def secrets(api: RawApi, namespace: str) -> str:
    """The path of a kind of which a fresh namespace has none."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    assert api("GET", path).expect(200)["items"] == []
    return path


def make(api: RawApi, path: str, *names: str, **labels: str) -> list[dict[str, Any]]:
    return [api("POST", path, {"metadata": {"name": name, "labels": labels}}).expect(201) for name in names]


def page(api: RawApi, path: str, token: str) -> Answer:
    """The next two of a list."""
    return api("GET", f"{path}?{urlencode({'limit': '2', 'continue': token})}")


def names(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["type"], each["object"]["metadata"].get("name", "")) for each in events]


def take(events: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [next(events) for _ in range(count)]


def test_a_list_is_in_the_order_of_names_and_items_do_not_repeat_the_kind(api: RawApi, secrets: str) -> None:
    make(api, secrets, "b", "a", "c")
    found = api("GET", secrets).expect(200)
    assert (found["kind"], found["apiVersion"]) == ("SecretList", "v1")
    assert [each["metadata"]["name"] for each in found["items"]] == ["a", "b", "c"]
    assert "kind" not in found["items"][0]
    assert int(found["metadata"]["resourceVersion"]) >= max(
        int(each["metadata"]["resourceVersion"]) for each in found["items"]
    )


def test_items_of_custom_kinds_name_their_kind(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True)) as kind:
        api("POST", kind.path(), kind.thing("a", {})).expect(201)
        (item,) = api("GET", kind.path()).expect(200)["items"]
    assert (item["kind"], item["apiVersion"]) == ("Thing", f"{kind.group}/v1")


def test_a_list_comes_in_pages_of_one_moment(api: RawApi, secrets: str) -> None:
    make(api, secrets, "a", "b", "c", "d", "e")
    first = api("GET", secrets, limit="2").expect(200)
    assert [each["metadata"]["name"] for each in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    make(api, secrets, "bb")
    second = page(api, secrets, first["metadata"]["continue"]).expect(200)
    assert [each["metadata"]["name"] for each in second["items"]] == ["c", "d"]
    last = page(api, secrets, second["metadata"]["continue"]).expect(200)
    assert [each["metadata"]["name"] for each in last["items"]] == ["e"]
    assert not last["metadata"].get("continue")
    versions = {each["metadata"]["resourceVersion"] for each in (first, second, last)}
    assert len(versions) == 1


def test_a_page_of_a_forgotten_moment_is_gone(api_server: ApiServer, api: RawApi, secrets: str) -> None:
    make(api, secrets, "a", "b", "c")
    first = api("GET", secrets, limit="1").expect(200)
    make(api, secrets, "d")
    api_server.compact()
    late = page(api, secrets, first["metadata"]["continue"])
    assert (late.code, late.reason) == (410, "Expired")
    inconsistent = late.document["metadata"]["continue"]
    rest = page(api, secrets, inconsistent).expect(200)
    assert [each["metadata"]["name"] for each in rest["items"]] == ["b", "c"]


def test_a_token_that_is_none_is_a_bad_request(api: RawApi, secrets: str) -> None:
    answer = page(api, secrets, "nonsense")
    assert (answer.code, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=web", ["a", "b"]),
        ("app=web,tier!=front", ["b"]),
        ("tier", ["a"]),
        ("!tier", ["b", "c"]),
        ("app in (web, db)", ["a", "b", "c"]),
        ("app notin (web)", ["c"]),
    ],
)
def test_labels_select(api: RawApi, secrets: str, selector: str, found: list[str]) -> None:
    make(api, secrets, "a", app="web", tier="front")
    make(api, secrets, "b", app="web")
    make(api, secrets, "c", app="db")
    shown = api("GET", secrets, labelSelector=selector).expect(200)
    assert [each["metadata"]["name"] for each in shown["items"]] == found


def test_fields_select_where_the_kind_has_them(api: RawApi, namespace: str, secrets: str) -> None:
    make(api, secrets, "a", "b")
    shown = api("GET", secrets, fieldSelector="metadata.name=b").expect(200)
    assert [each["metadata"]["name"] for each in shown["items"]] == ["b"]
    assert api("GET", f"/api/v1/namespaces/{namespace}/pods", fieldSelector="spec.nodeName=none").code == 200
    unknown = api("GET", secrets, fieldSelector="spec.foo=b")
    assert (unknown.code, unknown.reason) == (400, "BadRequest")
    assert api("GET", secrets, labelSelector="a=b=c").code == 400


def test_a_watch_from_a_list_shows_what_came_after_it(api: RawApi, secrets: str) -> None:
    make(api, secrets, "a")
    version = api("GET", secrets).expect(200)["metadata"]["resourceVersion"]
    make(api, secrets, "b")
    with api.watch(secrets, resourceVersion=version) as events:
        first = take(events, 1)
        api("PATCH", f"{secrets}/a", {"metadata": {"labels": {"x": "y"}}}, content_type=MERGE).expect(200)
        api("DELETE", f"{secrets}/b").expect(200)
        rest = take(events, 2)
    assert names(first + rest) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert rest[0]["object"]["kind"] == "Secret"
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in first + rest]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("version", [{}, {"resourceVersion": ""}, {"resourceVersion": "0"}])
def test_a_watch_from_nowhere_begins_with_what_there_is(api: RawApi, secrets: str, version: dict[str, str]) -> None:
    make(api, secrets, "a", "b")
    with api.watch(secrets, **version) as events:
        found = take(events, 2)
        make(api, secrets, "c")
        found += take(events, 1)
    assert sorted(names(found[:2])) == [("ADDED", "a"), ("ADDED", "b")]
    assert names(found[2:]) == [("ADDED", "c")]


def test_a_watch_of_a_selection_tells_who_joins_and_who_leaves(api: RawApi, secrets: str) -> None:
    make(api, secrets, "a")
    version = api("GET", secrets).expect(200)["metadata"]["resourceVersion"]
    with api.watch(secrets, resourceVersion=version, labelSelector="in=yes") as events:
        for value in ("yes", "no"):
            api("PATCH", f"{secrets}/a", {"metadata": {"labels": {"in": value}}}, content_type=MERGE).expect(200)
        found = take(events, 2)
    assert names(found) == [("ADDED", "a"), ("DELETED", "a")]


def test_a_watch_ends_when_its_time_is_over(api: RawApi, secrets: str) -> None:
    before = time.monotonic()
    with api.watch(secrets, timeoutSeconds="1") as events:
        assert list(events) == []
    assert time.monotonic() - before >= 0.9


def test_a_streamed_list_ends_with_a_bookmark(api: RawApi, secrets: str) -> None:
    make(api, secrets, "a", "b")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with api.watch(secrets, **query) as events:
        found = take(events, 3)
        make(api, secrets, "c")
        after = next(event for event in events if event["type"] != "BOOKMARK")
    assert sorted(names(found[:2])) == [("ADDED", "a"), ("ADDED", "b")]
    mark = found[2]
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["object"]["kind"] == "Secret"
    assert names([after]) == [("ADDED", "c")]


def test_a_watch_from_a_forgotten_version_is_told_so(api_server: ApiServer, api: RawApi, secrets: str) -> None:
    version = make(api, secrets, "a")[0]["metadata"]["resourceVersion"]
    make(api, secrets, "b", "c")
    api_server.compact()
    with api.watch(secrets, resourceVersion=version) as events:
        (event,) = take(events, 1)
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: ")


def test_a_server_that_comes_back_has_everything_it_had(api_server: ApiServer, api: RawApi, secrets: str) -> None:
    made = make(api, secrets, "a")[0]
    api_server.restart()
    assert api("GET", f"{secrets}/a").expect(200)["metadata"] == made["metadata"]
    later = make(api, secrets, "b")[0]
    assert int(later["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_while_a_server_is_away_nobody_answers(api_server: ApiServer, api: RawApi, secrets: str) -> None:
    api_server.go_away()
    try:
        with pytest.raises(OSError, match="refused"):
            api("GET", secrets)
    finally:
        api_server.come_back()
    assert api("GET", secrets).code == 200


def test_a_list_from_the_future_fails(api: RawApi, secrets: str) -> None:
    version = int(api("GET", secrets).expect(200)["metadata"]["resourceVersion"])
    answer = api("GET", secrets, resourceVersion=str(version + 1_000_000))
    assert (answer.code, answer.reason) == (504, "Timeout")


def test_a_kind_that_goes_away_ends_its_watches_and_takes_its_objects_along(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True)) as kind:
        made = api("POST", kind.path(), kind.thing("a", {})).expect(201)
        version = made["metadata"]["resourceVersion"]
        with api.watch(kind.path(), resourceVersion=version) as events:
            api("DELETE", kind.crd).expect(200)
            seen = list(events)
        assert names(seen) == [("DELETED", "a")]
        while api("GET", kind.crd).code != 404:
            time.sleep(0.02)
        while (answer := api("GET", kind.path())).code == 200:
            time.sleep(0.02)
        assert answer.code == 404
    with custom_kind(api, namespace, served("v1", storage=True)) as kind:
        assert api("GET", kind.path()).expect(200)["items"] == []


def test_discovery_names_a_new_kind(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True), served("v1alpha1")) as kind:
        while (found := api("GET", f"/apis/{kind.group}/v1")).code != 200:
            time.sleep(0.02)
        listed = {each["name"]: each for each in found.document["resources"]}
        groups = api("GET", f"/apis/{kind.group}").expect(200)
    assert set(listed) == {"things", "things/status"}
    assert listed["things"]["kind"] == "Thing"
    assert listed["things"]["namespaced"] is True
    assert set(listed["things"]["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert [each["version"] for each in groups["versions"]] == ["v1", "v1alpha1"]
    assert groups["preferredVersion"]["version"] == "v1"
