"""Contract: how an API server calls admission webhooks, and what it makes of their answers."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from api_objects import config_map
from api_server_keys import Signer
from raw_api import MERGE, RawApi
from real_api_server import free_ports
from registered_webhook import registered
from webhook_server import Review, WebhookServer, allowed, patched, put, refused


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer(allowed) as running:
        yield running


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of the ConfigMaps of the test's namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_a_mutating_webhook_is_told_of_the_write_and_changes_it(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    server.answer = lambda review: patched(review, put("/data/added", "yes"))
    with registered(api, namespace, server):
        stored = api("POST", maps, config_map(own="1"), fieldManager="me").expect(201)
    assert stored["data"] == {"own": "1", "added": "yes"}
    (review,) = server.reviews
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    request = review["request"]
    assert request["kind"] == request["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    assert request["resource"] == request["requestResource"] == resource
    assert (request["operation"], request["namespace"], request["name"]) == ("CREATE", namespace, "a")
    assert request["dryRun"] is False
    options = {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": "me"}
    assert {name: request["options"][name] for name in options} == options
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert set(request["userInfo"]["groups"]) == {"system:masters", "system:authenticated"}
    assert request["oldObject"] is None
    assert request["object"]["data"] == {"own": "1"}
    assert (request["object"]["apiVersion"], request["object"]["kind"]) == ("v1", "ConfigMap")
    assert request["object"]["metadata"]["namespace"] == namespace
    assert "subResource" not in request


def test_updates_and_deletions_are_told_with_what_was_there(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    api("POST", maps, config_map(own="1")).expect(201)
    with registered(api, namespace, server, kind="Validating"):
        api("PATCH", f"{maps}/a", {"data": {"own": "2"}}, content_type=MERGE).expect(200)
        api("DELETE", f"{maps}/a").expect(200)
    update, delete = server.requests
    assert (update["operation"], update["object"]["data"], update["oldObject"]["data"]) == (
        "UPDATE",
        {"own": "2"},
        {"own": "1"},
    )
    assert update["options"]["kind"] == "UpdateOptions"
    assert (delete["operation"], delete["object"], delete["oldObject"]["data"]) == ("DELETE", None, {"own": "2"})
    assert delete["name"] == "a"
    assert delete["options"]["kind"] == "DeleteOptions"


def test_a_name_that_is_yet_to_be_made_is_not_told_to_who_may_change_the_object(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    thing = {"metadata": {"generateName": "a-"}}
    with WebhookServer(allowed) as judge:
        with registered(api, namespace, server), registered(api, namespace, judge, kind="Validating", name="judge"):
            stored = api("POST", maps, thing).expect(201)
        asked, judged = server.requests[-1], judge.requests[-1]
    assert "name" not in asked
    assert "name" not in asked["object"]["metadata"]
    assert judged["object"]["metadata"]["name"] == stored["metadata"]["name"]
    assert judged.get("name", "") in {"", stored["metadata"]["name"]}


def test_a_dry_run_is_told_and_stores_nothing(api: RawApi, namespace: str, maps: str, server: WebhookServer) -> None:
    server.answer = lambda review: patched(review, put("/data/added", "yes"))
    with registered(api, namespace, server):
        shown = api("POST", maps, config_map(own="1"), dryRun="All").expect(201)
    assert shown["data"] == {"own": "1", "added": "yes"}
    assert server.requests[-1]["dryRun"] is True
    assert server.requests[-1]["options"]["dryRun"] == ["All"]
    assert api("GET", f"{maps}/a").code == 404


def test_webhooks_see_what_those_before_them_changed_in_the_order_of_their_configurations(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    server.answer = lambda review: patched(review, put("/data/first", "1"))
    with WebhookServer(lambda review: patched(review, put("/data/second", "2"))) as second:
        with registered(api, namespace, second, name="b-second"), registered(api, namespace, server, name="a-first"):
            stored = api("POST", maps, config_map(own="1")).expect(201)
        assert second.requests[-1]["object"]["data"] == {"own": "1", "first": "1"}
    assert stored["data"] == {"own": "1", "first": "1", "second": "2"}
    assert len(server.reviews) == 1


def test_a_webhook_that_wishes_is_called_again_when_a_later_one_changed_the_object(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    def count(review: Review) -> Review:
        seen = len(review["request"]["object"]["data"])
        return patched(review, put("/data/count", str(seen)))

    server.answer = count
    with WebhookServer(lambda review: patched(review, put("/data/later", "x"))) as later:
        with (
            registered(api, namespace, server, name="a-first", reinvocationPolicy="IfNeeded"),
            registered(api, namespace, later, name="b-later"),
        ):
            stored = api("POST", maps, config_map(own="1")).expect(201)
        assert len(later.reviews) == 1
    assert [set(each["object"]["data"]) for each in server.requests] == [{"own"}, {"own", "count", "later"}]
    assert stored["data"] == {"own": "1", "later": "x", "count": "3"}


def test_a_webhook_is_not_called_again_for_its_own_change(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    server.answer = lambda review: patched(review, put("/data/added", "yes"))
    with registered(api, namespace, server, reinvocationPolicy="IfNeeded"):
        api("POST", maps, config_map(own="1")).expect(201)
    assert len(server.reviews) == 1


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_a_refusal_reaches_the_writer_with_the_webhooks_status(
    api: RawApi, namespace: str, maps: str, server: WebhookServer, kind: str
) -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "too odd", "field": "data.own"}]
    status = {"code": 422, "reason": "Invalid", "message": "data.own is odd", "details": {"causes": causes}}
    server.answer = lambda review: refused(review, **status)
    with registered(api, namespace, server, kind=kind):
        answer = api("POST", maps, config_map(own="1"))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.message == 'admission webhook "hook.weft.test" denied the request: data.own is odd'
    assert answer.causes == causes
    assert api("GET", f"{maps}/a").code == 404


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ({}, 400, "denied the request without explanation"),
        ({"message": "no"}, 400, "denied the request: no"),
        ({"reason": "Forbidden", "code": 403}, 403, "denied the request: Forbidden"),
        ({"code": 200, "message": "odd"}, 400, "denied the request: odd"),
    ],
)
def test_a_refusal_with_little_said_is_still_one(
    api: RawApi, namespace: str, maps: str, server: WebhookServer, status: dict[str, Any], code: int, said: str
) -> None:
    server.answer = lambda review: refused(review, **status)
    with registered(api, namespace, server, kind="Validating"):
        answer = api("POST", maps, config_map())
    assert (answer.code, answer.message) == (code, f'admission webhook "hook.weft.test" {said}')


def test_warnings_reach_the_writer(api: RawApi, namespace: str, maps: str, server: WebhookServer) -> None:
    server.answer = lambda review: allowed(review, warnings=["backend v2 does not exist yet", 'a "quoted" one'])
    with registered(api, namespace, server, kind="Validating"):
        answer = api("POST", maps, config_map())
    assert answer.code == 201
    assert answer.warnings == ('299 - "backend v2 does not exist yet"', '299 - "a \\"quoted\\" one"')


def test_a_refusal_carries_warnings_too(api: RawApi, namespace: str, maps: str, server: WebhookServer) -> None:
    server.answer = lambda review: (
        {**(answer := refused(review, message="no"))} | {"response": answer["response"] | {"warnings": ["look here"]}}
    )
    with registered(api, namespace, server, kind="Validating"):
        answer = api("POST", maps, config_map())
    assert (answer.code, answer.warnings) == (400, ('299 - "look here"',))


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_a_webhook_that_is_away_stops_writes_only_where_its_policy_says_so(
    api: RawApi, namespace: str, maps: str, server: WebhookServer, kind: str
) -> None:
    away = {"url": f"https://127.0.0.1:{free_ports(1)[0]}/", "caBundle": server.bundle}
    with registered(api, namespace, server, kind=kind, clientConfig=away, failurePolicy="Ignore"):
        assert api("POST", maps, config_map("ignored")).code == 201
    with registered(api, namespace, server, kind=kind, clientConfig=away, name="strict"):
        answer = api("POST", maps, config_map())
    assert (answer.code, answer.reason) == (500, "InternalError")
    start = 'Internal error occurred: failed calling webhook "strict.weft.test": failed to call webhook: Post "https://'
    assert answer.message.startswith(start)
    assert answer.message.endswith("connect: connection refused")
    assert len(answer.causes) == 1


def test_a_webhook_that_does_not_answer_in_time_is_away(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    def late(review: Review) -> Review:
        time.sleep(1.5)
        return allowed(review)

    server.answer = late
    with registered(api, namespace, server, timeoutSeconds=1):
        answer = api("POST", maps, config_map())
    assert answer.code == 500
    assert "?timeout=1s" in answer.message
    assert answer.message.endswith("context deadline exceeded")


def test_a_webhook_whose_certificate_is_of_another_root_is_away(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    foreign = server.client_config() | {"caBundle": b64encode(Signer("other").pem).decode()}
    with registered(api, namespace, server, clientConfig=foreign):
        answer = api("POST", maps, config_map())
    assert answer.code == 500
    assert "tls: failed to verify certificate: x509: " in answer.message


def _no_uid(review: Review) -> Review:
    answer = allowed(review)
    return answer | {"response": answer["response"] | {"uid": "other"}}


NOTHING = b64encode(b'[{"op":"test","path":"/kind","value":"ConfigMap"}]').decode()
ODD = {
    "an error": (lambda _review: 503, "the server is currently unable to handle the request"),
    "no response": (lambda review: {**allowed(review), "response": None}, "webhook response was absent"),
    "another uid": (_no_uid, 'got "other"'),
    "another kind": (lambda review: allowed(review) | {"apiVersion": "admission.k8s.io/v1beta1"}, ""),
    "a patch without its type": (lambda review: allowed(review, patch="W10="), "but not response.patchType"),
    "a patch of another type": (lambda review: allowed(review, patch=NOTHING, patchType="Merge"), ""),
    "a patch that is no JSON": (
        lambda review: allowed(review, patch="eHh4", patchType="JSONPatch"),
        "undecodable patch",
    ),
    "a patch that does not fit": (lambda review: patched(review, {"op": "remove", "path": "/data/none"}), ""),
}


@pytest.mark.parametrize("case", ODD)
def test_an_answer_that_is_none_fails_the_write(
    api: RawApi, namespace: str, maps: str, server: WebhookServer, case: str
) -> None:
    server.answer, said = ODD[case]
    with registered(api, namespace, server):
        answer = api("POST", maps, config_map(own="1"))
    assert (answer.code, answer.reason) == (500, "InternalError")
    assert said in answer.message


def test_a_validating_webhook_may_not_change_anything(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    server.answer = lambda review: patched(review, put("/data/added", "yes"))
    with registered(api, namespace, server, kind="Validating"):
        answer = api("POST", maps, config_map(own="1"))
    assert answer.code == 500
    assert "validating webhook may not return response.patch" in answer.message


def test_what_a_webhook_makes_of_an_object_is_validated(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    server.answer = lambda review: patched(review, put("/metadata/labels", {"a": "not a label value!"}))
    with registered(api, namespace, server):
        answer = api("POST", maps, config_map(own="1"))
    assert (answer.code, [each["field"] for each in answer.causes]) == (422, ["metadata.labels"])
