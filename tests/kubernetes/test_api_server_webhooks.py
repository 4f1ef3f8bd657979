"""Contract: for which writes an API server calls a webhook, in which version, and which registrations it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api_objects import config_map
from custom_kind import custom_kind, served
from raw_api import MERGE, RawApi
from registered_webhook import configuration, hook, path_of, registered
from webhook_server import WebhookServer, allowed, patched, put


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer(allowed) as running:
        yield running


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of the ConfigMaps of the test's namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_selectors_say_which_objects_a_webhook_is_called_for(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    with registered(api, namespace, server, objectSelector={"matchLabels": {"mesh": "yes"}}):
        api("POST", maps, config_map("plain")).expect(201)
        assert server.reviews == []
        chosen = config_map("chosen")
        chosen["metadata"]["labels"] = {"mesh": "yes"}
        api("POST", maps, chosen).expect(201)
        # Leaving what is selected is a change of something selected.
        api("PATCH", f"{maps}/chosen", {"metadata": {"labels": None}}, content_type=MERGE).expect(200)
        api("PATCH", f"{maps}/chosen", {"data": {"x": "y"}}, content_type=MERGE).expect(200)
    assert [each["operation"] for each in server.requests] == ["CREATE", "UPDATE"]


def test_namespaces_are_selected_by_their_labels(api: RawApi, namespace: str, maps: str, server: WebhookServer) -> None:
    opposite = {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace]}]
    }
    other = {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["configmaps", "secrets"]}
    selector = {**opposite, "matchLabels": {"weft.test/meshed": namespace}}
    with registered(api, namespace, server, namespaceSelector={"matchLabels": {"weft.test/meshed": namespace}}):
        api("POST", maps, config_map("before")).expect(201)
        assert server.reviews == []
        labels = {"metadata": {"labels": {"weft.test/meshed": namespace}}}
        api("PATCH", f"/api/v1/namespaces/{namespace}", labels, content_type=MERGE).expect(200)
        while not server.reviews:
            api("POST", maps, config_map("after"), dryRun="All").expect(201)
    with registered(api, namespace, server, name="opposite", namespaceSelector=selector, rules=[other]):
        api("POST", maps, config_map("left-alone")).expect(201)
        assert server.reviews == []


def test_rules_say_which_resources_and_operations(
    api: RawApi, namespace: str, maps: str, server: WebhookServer
) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps", "secrets"]}
    with registered(api, namespace, server, rules=[rule]):
        api("POST", maps, config_map()).expect(201)
        assert server.reviews == []
        api("PATCH", f"{maps}/a", {"data": {"x": "y"}}, content_type=MERGE).expect(200)
    assert [each["operation"] for each in server.requests] == ["UPDATE"]
    cluster = {**rule, "operations": ["*"], "scope": "Cluster"}
    with registered(api, namespace, server, name="cluster", rules=[cluster]):
        api("POST", maps, config_map("b")).expect(201)
    assert server.reviews == []


def test_a_custom_kind_is_told_in_the_version_the_rule_names(
    api: RawApi, namespace: str, server: WebhookServer
) -> None:
    with custom_kind(api, namespace, served("v1", storage=True), served("v1alpha1")) as kind:
        rule = {"apiGroups": [kind.group], "apiVersions": ["v1"], "operations": ["*"], "resources": ["things"]}
        server.answer = lambda review: patched(review, put("/spec/added", True))
        with registered(api, namespace, server, rules=[rule]):
            made = api("POST", kind.path("v1alpha1"), kind.thing("a", {"own": 1}, "v1alpha1")).expect(201)
            status = {"status": {"phase": "x"}}
            api("PATCH", f"{kind.path(name='a')}/status", status, content_type=MERGE).expect(200)
        with registered(api, namespace, server, name="exact", rules=[rule], matchPolicy="Exact"):
            api("POST", kind.path("v1alpha1"), kind.thing("b", {}, "v1alpha1")).expect(201)
            assert server.reviews == []
            api("POST", kind.path(), kind.thing("c", {})).expect(201)
            (exact,) = server.requests
    assert exact["object"]["apiVersion"] == f"{kind.group}/v1"
    assert made["apiVersion"] == f"{kind.group}/v1alpha1"
    assert made["spec"] == {"own": 1, "added": True}


def test_an_equivalent_version_is_converted_for_the_webhook(api: RawApi, namespace: str, server: WebhookServer) -> None:
    with custom_kind(api, namespace, served("v1", storage=True), served("v1alpha1")) as kind:
        rule = {"apiGroups": [kind.group], "apiVersions": ["v1"], "operations": ["*"], "resources": ["things"]}
        with registered(api, namespace, server, kind="Validating", rules=[rule]):
            api("POST", kind.path("v1alpha1"), kind.thing("a", {}, "v1alpha1")).expect(201)
        (request,) = server.requests
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1", "v1alpha1")
    assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v1", "v1alpha1")
    assert request["object"]["apiVersion"] == f"{kind.group}/v1"


def test_what_a_webhook_adds_to_a_custom_object_is_pruned_by_its_schema(
    api: RawApi, namespace: str, server: WebhookServer
) -> None:
    with custom_kind(api, namespace, served("v1", storage=True, own={"type": "integer"})) as kind:
        rule = {"apiGroups": [kind.group], "apiVersions": ["v1"], "operations": ["*"], "resources": ["things"]}
        server.answer = lambda review: patched(review, put("/spec/unknown", 1), put("/spec/own", 2))
        with registered(api, namespace, server, rules=[rule]):
            made = api("POST", kind.path(), kind.thing("a", {"own": 1})).expect(201)
        server.answer = lambda review: patched(review, put("/spec/own", "x"))
        with registered(api, namespace, server, name="wrong", rules=[rule]):
            wrong = api("POST", kind.path(), kind.thing("b", {"own": 1}))
    assert made["spec"] == {"own": 2}
    assert (wrong.code, [each["field"] for each in wrong.causes]) == (422, ["spec.own"])


def test_a_configuration_is_stored_with_its_defaults(api: RawApi, namespace: str, server: WebhookServer) -> None:
    service = {"name": "weft", "namespace": namespace}
    given = hook("h", namespace, clientConfig={"service": service, "caBundle": server.bundle})
    del given["namespaceSelector"], given["objectSelector"]
    given["rules"] = [{"apiGroups": ["none.test"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["none"]}]
    for kind in ("Mutating", "Validating"):
        made = api("POST", path_of(kind), configuration(kind, f"{namespace}-defaults", given)).expect(201)
        api("DELETE", path_of(kind, f"{namespace}-defaults")).expect(200)
        (stored,) = made["webhooks"]
        assert stored["clientConfig"]["service"]["port"] == 443
        assert stored["rules"][0]["scope"] == "*"
        assert (stored["failurePolicy"], stored["matchPolicy"], stored["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
        assert (stored["namespaceSelector"], stored["objectSelector"]) == ({}, {})
        assert stored.get("reinvocationPolicy") == ("Never" if kind == "Mutating" else None)


def test_an_empty_bundle_is_allowed_until_the_real_one_is_written(api: RawApi, namespace: str) -> None:
    given = hook("h", namespace, clientConfig={"url": "https://127.0.0.1:1/", "caBundle": ""}, failurePolicy="Ignore")
    made = api("POST", path_of("Mutating"), configuration("Mutating", f"{namespace}-empty", given))
    api("DELETE", path_of("Mutating", f"{namespace}-empty")).expect(200)
    assert made.code == 201


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no side effects": ({"sideEffects": None}, "webhooks[0].sideEffects"),
    "some side effects": ({"sideEffects": "Some"}, "webhooks[0].sideEffects"),
    "no versions": ({"admissionReviewVersions": []}, "webhooks[0].admissionReviewVersions"),
    "short name": ({"name": "hook"}, "webhooks[0].name"),
    "too patient": ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds"),
    "no TLS": ({"clientConfig": {"url": "http://127.0.0.1/"}}, "webhooks[0].clientConfig.url"),
    "no address": ({"clientConfig": {}}, "webhooks[0].clientConfig"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_configuration_that_can_not_be_is_refused(
    api: RawApi, namespace: str, server: WebhookServer, case: str
) -> None:
    changed, field = WRONG[case]
    given = hook("h", namespace, **{"clientConfig": server.client_config(), **changed})
    answer = api("POST", path_of("Validating"), configuration("Validating", f"{namespace}-wrong", given))
    assert (answer.code, [each["field"] for each in answer.causes]) == (422, [field])
