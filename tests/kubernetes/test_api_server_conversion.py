"""Contract: how an API server has custom objects converted by a webhook, and what it makes of the answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from custom_kind import CustomKind, custom_kind, served
from raw_api import MERGE, RawApi
from webhook_server import Review, WebhookServer

TEXT = {"type": "string"}


def renaming(review: Review) -> Review:
    """`old` of v1alpha1 is `new` of v1; a label tells who converted it."""
    wanted = review["request"]["desiredAPIVersion"]
    names = ("old", "new") if wanted.endswith("/v1") else ("new", "old")
    made = []
    for each in copy.deepcopy(review["request"]["objects"]):
        spec = each.get("spec") or {}
        if names[0] in spec:
            spec[names[1]] = spec.pop(names[0])
        each["apiVersion"] = wanted
        made.append(each)
    return converted(review, made)


def converted(review: Review, objects: list[Any], **result: Any) -> Review:
    response = {
        "uid": review["request"]["uid"],
        "result": {"status": "Success", **result},
        "convertedObjects": objects,
    }
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


@pytest.fixture(scope="module")
def module_server() -> Iterator[WebhookServer]:
    with WebhookServer(renaming) as running:
        yield running


@pytest.fixture(scope="module")
def module_kind(api: RawApi, shared_namespace: str, module_server: WebhookServer) -> Iterator[CustomKind]:
    webhook = {"clientConfig": module_server.client_config("/convert"), "conversionReviewVersions": ["v1"]}
    with custom_kind(
        api,
        shared_namespace,
        served("v1", storage=True, new=TEXT, filled={"type": "string", "default": "full"}),
        served("v1alpha1", old=TEXT),
        conversion={"strategy": "Webhook", "webhook": webhook},
    ) as made:
        yield made


@pytest.fixture
def server(module_server: WebhookServer) -> WebhookServer:
    module_server.answer = renaming
    module_server.reviews.clear()
    return module_server


@pytest.fixture
def kind(module_kind: CustomKind, server: WebhookServer) -> Iterator[CustomKind]:
    yield module_kind
    server.answer = renaming
    module_kind.api("DELETE", module_kind.path()).expect(200)


def test_an_object_is_read_and_written_in_every_version(kind: CustomKind) -> None:
    made = kind.api("POST", kind.path("v1alpha1"), kind.thing("a", {"old": "x"}, "v1alpha1")).expect(201)
    assert (made["apiVersion"], made["spec"]) == (f"{kind.group}/v1alpha1", {"old": "x"})
    stored = kind.api("GET", kind.path(name="a")).expect(200)
    assert (stored["apiVersion"], stored["spec"]) == (f"{kind.group}/v1", {"new": "x", "filled": "full"})
    path = kind.path("v1alpha1", "a")
    changed = kind.api("PATCH", path, {"spec": {"old": "y"}}, content_type=MERGE).expect(200)
    assert (changed["spec"], changed["metadata"]["generation"]) == ({"old": "y"}, 2)
    assert kind.api("GET", kind.path(name="a")).expect(200)["spec"]["new"] == "y"
    assert changed["metadata"]["uid"] == stored["metadata"]["uid"]


def test_the_webhook_is_told_the_objects_and_the_version(kind: CustomKind, server: WebhookServer) -> None:
    kind.api("POST", kind.path("v1alpha1"), kind.thing("a", {"old": "x"}, "v1alpha1")).expect(201)
    first = server.reviews[0]
    assert (first["apiVersion"], first["kind"]) == ("apiextensions.k8s.io/v1", "ConversionReview")
    assert first["request"]["desiredAPIVersion"] == f"{kind.group}/v1"
    (thing,) = first["request"]["objects"]
    assert (thing["apiVersion"], thing["kind"], thing["spec"]) == (f"{kind.group}/v1alpha1", "Thing", {"old": "x"})
    assert thing["metadata"]["uid"]
    assert thing["metadata"]["namespace"] == kind.namespace


def test_a_list_is_converted_as_a_whole(kind: CustomKind, server: WebhookServer) -> None:
    for name in ("a", "b", "c"):
        kind.api("POST", kind.path(), kind.thing(name, {"new": name})).expect(201)
    found = kind.api("GET", kind.path("v1alpha1")).expect(200)
    assert (found["apiVersion"], found["kind"]) == (f"{kind.group}/v1alpha1", "ThingList")
    assert [each["spec"] for each in found["items"]] == [{"old": "a"}, {"old": "b"}, {"old": "c"}]
    assert {each["apiVersion"] for each in found["items"]} == {f"{kind.group}/v1alpha1"}


def test_a_watch_shows_its_own_version(kind: CustomKind) -> None:
    version = kind.api("GET", kind.path("v1alpha1")).expect(200)["metadata"]["resourceVersion"]
    with kind.api.watch(kind.path("v1alpha1"), resourceVersion=version) as events:
        kind.api("POST", kind.path(), kind.thing("a", {"new": "x"})).expect(201)
        event = next(events)
    assert (event["type"], event["object"]["spec"]) == ("ADDED", {"old": "x"})
    assert event["object"]["apiVersion"] == f"{kind.group}/v1alpha1"


def test_labels_and_annotations_may_change_and_nothing_else_of_the_metadata(
    kind: CustomKind, server: WebhookServer
) -> None:
    def marking(review: Review) -> Review:
        answer = renaming(review)
        for each in answer["response"]["convertedObjects"]:
            each["metadata"] |= {
                "labels": {"by": "webhook"},
                "annotations": {"kept": "1"},
                "finalizers": ["weft.test/x"],
            }
        return answer

    kind.api("POST", kind.path(), kind.thing("a", {"new": "x"}, labels={"own": "1"})).expect(201)
    server.answer = marking
    shown = kind.api("GET", kind.path("v1alpha1", "a")).expect(200)
    assert shown["metadata"]["labels"] == {"by": "webhook"}
    assert shown["metadata"]["annotations"] == {"kept": "1"}
    assert "finalizers" not in shown["metadata"]


def test_what_a_webhook_adds_beyond_the_schema_is_pruned(kind: CustomKind, server: WebhookServer) -> None:
    def adding(review: Review) -> Review:
        answer = renaming(review)
        for each in answer["response"]["convertedObjects"]:
            each["spec"]["unknown"] = 1
        return answer

    kind.api("POST", kind.path(), kind.thing("a", {"new": "x"})).expect(201)
    server.answer = adding
    assert kind.api("GET", kind.path("v1alpha1", "a")).expect(200)["spec"] == {"old": "x"}


def _renamed(review: Review) -> Review:
    answer = renaming(review)
    for each in answer["response"]["convertedObjects"]:
        each["metadata"]["name"] = "other"
    return answer


def _with_uid(review: Review) -> Review:
    answer = renaming(review)
    return answer | {"response": answer["response"] | {"uid": "other"}}


ODD = {
    "it fails": (lambda review: converted(review, [], status="Failed", message="can't"), "failed: can't"),
    "it fails silently": (lambda review: converted(review, [], status="Failed"), "result.status was 'Failed'"),
    "too few": (lambda review: converted(review, []), "returned 0 objects, expected 1"),
    "the wrong version": (lambda review: converted(review, review["request"]["objects"]), "invalid groupVersion"),
    "another name": (_renamed, "must have the same name"),
    "another uid": (_with_uid, 'got "other"'),
    "no response": (lambda review: {**renaming(review), "response": None}, "no response provided"),
    "an error": (lambda _review: 500, "has prevented the request from succeeding"),
}


@pytest.mark.parametrize("case", ODD)
def test_an_answer_that_is_no_conversion_fails_the_request(kind: CustomKind, server: WebhookServer, case: str) -> None:
    kind.api("POST", kind.path(), kind.thing("a", {"new": "x"})).expect(201)
    server.answer, said = ODD[case]
    answer = kind.api("GET", kind.path("v1alpha1", "a"))
    assert answer.code == 500
    assert answer.message.startswith(f"conversion webhook for {kind.group}/v1, Kind=Thing")
    assert said in answer.message
    listed = kind.api("GET", kind.path("v1alpha1"))
    assert listed.code == 500
    assert kind.api("GET", kind.path(name="a")).code == 200


def test_a_write_that_can_not_be_converted_is_not_stored(kind: CustomKind, server: WebhookServer) -> None:
    server.answer = ODD["it fails"][0]
    answer = kind.api("POST", kind.path("v1alpha1"), kind.thing("a", {"old": "x"}, "v1alpha1"))
    assert answer.code == 500
    server.answer = renaming
    assert kind.api("GET", kind.path(name="a")).code == 404


def test_without_a_webhook_only_the_version_changes(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True, new=TEXT), served("v1alpha1", old=TEXT)) as kind:
        api("POST", kind.path("v1alpha1"), kind.thing("a", {"old": "x"}, "v1alpha1")).expect(201)
        shown = api("GET", kind.path(name="a")).expect(200)
        assert (shown["apiVersion"], shown["spec"]) == (f"{kind.group}/v1", {})


@pytest.mark.parametrize(
    ("conversion", "fields"),
    [
        ({"strategy": "Webhook"}, ["webhookClientConfig", "conversionReviewVersions"]),
        (
            {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a.test/"}}},
            ["conversionReviewVersions"],
        ),
        (
            {
                "strategy": "Webhook",
                "webhook": {"clientConfig": {"url": "http://a.test/"}, "conversionReviewVersions": ["v1"]},
            },
            ["webhookClientConfig.url"],
        ),
    ],
)
def test_a_conversion_that_can_not_be_is_refused(
    api: RawApi, namespace: str, conversion: dict[str, Any], fields: list[str]
) -> None:
    with custom_kind(api, namespace, served("v1", storage=True)) as kind:
        crd = api("GET", kind.crd).expect(200)
        crd["spec"]["conversion"] = conversion
        answer = api("PUT", kind.crd, crd)
    assert answer.code == 422
    # The fields are named as in the API of long ago.
    assert [each["field"] for each in answer.causes] == [f"spec.conversion.{field}" for field in fields]


def test_a_crd_may_name_a_service_and_no_bundle_before_there_is_one(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True), served("v1alpha1")) as kind:
        api("POST", kind.path(), kind.thing("a", {})).expect(201)
        service = {"name": "weft-webhook", "namespace": namespace, "path": "/convert"}
        webhook = {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]}
        crd = api("GET", kind.crd).expect(200)
        crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        stored = api("PUT", kind.crd, crd).expect(200)
        assert stored["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"] == 443
        while (answer := api("GET", kind.path("v1alpha1", "a"))).code == 200:
            pass  # until the change is in force
        assert answer.code == 500
        assert 'service "weft-webhook" not found' in answer.message
        assert api("GET", kind.path(name="a")).code == 200
