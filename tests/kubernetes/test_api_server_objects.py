"""Contract: creating, changing and deleting objects; who wins, and what the loser is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api_objects import config_map
from custom_kind import CustomKind, custom_kind, served
from raw_api import APPLY, JSON_PATCH, MERGE, STRATEGIC, RawApi

INTEGER = {"type": "integer"}
ITEMS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "weight": INTEGER}},
}


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture(scope="module")
def module_kind(api: RawApi, shared_namespace: str) -> Iterator[CustomKind]:
    with custom_kind(api, shared_namespace, served("v1", storage=True, size=INTEGER, items=ITEMS)) as made:
        yield made


@pytest.fixture
def kind(module_kind: CustomKind) -> Iterator[CustomKind]:
    yield module_kind
    for each in module_kind.api("GET", module_kind.path()).document["items"]:
        path = module_kind.path(name=each["metadata"]["name"])
        module_kind.api("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
        module_kind.api("DELETE", path)


def test_a_new_object_gets_what_only_the_server_gives(api: RawApi, namespace: str, maps: str) -> None:
    given = config_map(x="1")
    given["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    metadata = api("POST", maps, given, fieldManager="me").expect(201)["metadata"]
    assert metadata["namespace"] == namespace
    assert len(metadata["uid"]) == 36
    assert metadata["resourceVersion"].isdecimal()
    assert metadata["creationTimestamp"].endswith("Z")
    assert not metadata["creationTimestamp"].startswith("2001")
    (managed,) = metadata["managedFields"]
    assert (managed["manager"], managed["operation"], managed["apiVersion"]) == ("me", "Update", "v1")
    assert managed["fieldsV1"]["f:data"]["f:x"] == {}


def test_a_name_is_made_from_generate_name(api: RawApi, maps: str) -> None:
    made = [api("POST", maps, {"metadata": {"generateName": "a-"}}).expect(201)["metadata"] for _ in range(2)]
    assert all(each["name"].startswith("a-") and len(each["name"]) == 7 for each in made)
    assert made[0]["name"] != made[1]["name"]
    nameless = api("POST", maps, {"metadata": {}})
    assert (nameless.code, nameless.causes[0]["field"]) == (422, "metadata.name")
    assert nameless.causes[0]["message"] == "Required value: name or generateName is required"


def test_a_name_is_taken_once(api: RawApi, maps: str) -> None:
    api("POST", maps, config_map()).expect(201)
    again = api("POST", maps, config_map())
    assert (again.code, again.reason, again.message) == (409, "AlreadyExists", 'configmaps "a" already exists')
    assert again.document["details"] == {"name": "a", "kind": "configmaps"}


@pytest.mark.parametrize("name", ["Upper", "a_b", "-a", "a" * 254])
def test_a_name_has_to_be_a_dns_name(kind: CustomKind, name: str) -> None:
    answer = kind.api("POST", kind.path(), kind.thing(name))
    assert (answer.code, [each["field"] for each in answer.causes]) == (422, ["metadata.name"])


def test_labels_have_to_be_labels(kind: CustomKind) -> None:
    answer = kind.api("POST", kind.path(), kind.thing("a", labels={"a": "no label!"}))
    assert (answer.code, [each["field"] for each in answer.causes]) == (422, ["metadata.labels"])
    answer = kind.api("POST", kind.path(), kind.thing("a", labels={"a": 1}))
    assert answer.code == 400


def test_the_namespace_of_the_body_and_of_the_path_agree(api: RawApi, maps: str) -> None:
    other = config_map()
    other["metadata"]["namespace"] = "default"
    answer = api("POST", maps, other)
    assert (answer.code, answer.message) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )


def test_what_is_not_there_is_told_by_its_name(api: RawApi, namespace: str, maps: str, kind: CustomKind) -> None:
    for method, body in (("GET", None), ("DELETE", None), ("PUT", config_map("none"))):
        answer = api(method, f"{maps}/none", body)
        assert (answer.code, answer.reason, answer.message) == (404, "NotFound", 'configmaps "none" not found')
        assert answer.document["details"] == {"name": "none", "kind": "configmaps"}
    custom = api("GET", kind.path(name="none"))
    assert custom.message == f'things.{kind.group} "none" not found'
    assert custom.document["details"] == {"name": "none", "group": kind.group, "kind": "things"}
    nowhere = api("POST", "/api/v1/namespaces/no-such/configmaps", config_map())
    assert (nowhere.code, nowhere.message) == (404, 'namespaces "no-such" not found')
    unknown = api("GET", f"/apis/{kind.group}/v1/namespaces/{namespace}/unknowns")
    assert unknown.code == 404


def test_an_update_of_an_old_version_is_a_conflict(api: RawApi, maps: str) -> None:
    first = api("POST", maps, config_map(x="1")).expect(201)
    second = api("PUT", f"{maps}/a", {**first, "data": {"x": "2"}}).expect(200)
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    late = api("PUT", f"{maps}/a", {**first, "data": {"x": "3"}})
    assert (late.code, late.reason) == (409, "Conflict")
    assert late.message == (
        'Operation cannot be fulfilled on configmaps "a": '
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    assert late.document["details"] == {"name": "a", "kind": "configmaps"}
    assert api("GET", f"{maps}/a").expect(200)["data"] == {"x": "2"}


def test_a_patch_that_names_a_version_is_a_conflict_if_it_is_old(kind: CustomKind) -> None:
    made = kind.api("POST", kind.path(), kind.thing("a", {"size": 1})).expect(201)
    path = kind.path(name="a")
    kind.api("PATCH", path, {"spec": {"size": 2}}, content_type=MERGE).expect(200)
    old = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"size": 3}}
    assert kind.api("PATCH", path, old, content_type=MERGE).code == 409


def test_an_update_without_a_version_wins_where_the_kind_allows_it(api: RawApi, maps: str, kind: CustomKind) -> None:
    api("POST", maps, config_map(x="1")).expect(201)
    assert api("PUT", f"{maps}/a", config_map(x="2")).expect(200)["data"] == {"x": "2"}
    kind.api("POST", kind.path(), kind.thing("a", {})).expect(201)
    blind = kind.api("PUT", kind.path(name="a"), kind.thing("a", {"size": 1}))
    assert (blind.code, blind.causes[0]["field"]) == (422, "metadata.resourceVersion")
    assert blind.causes[0]["message"] == "Invalid value: 0: must be specified for an update"


def test_an_object_that_was_made_anew_is_another_one(api: RawApi, maps: str) -> None:
    old = api("POST", maps, config_map()).expect(201)
    api("DELETE", f"{maps}/a").expect(200)
    api("POST", maps, config_map()).expect(201)
    wanted = {**old, "metadata": {"name": "a", "uid": old["metadata"]["uid"]}}
    answer = api("PUT", f"{maps}/a", wanted)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message
    guarded = api("DELETE", f"{maps}/a", {"preconditions": {"uid": old["metadata"]["uid"]}})
    assert guarded.code == 409


def test_a_write_that_changes_nothing_is_none(api: RawApi, maps: str) -> None:
    first = api("POST", maps, config_map(x="1")).expect(201)
    same = api("PATCH", f"{maps}/a", {"data": {"x": "1"}}, content_type=MERGE).expect(200)
    assert same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_generation_counts_changes_of_the_spec_alone(kind: CustomKind) -> None:
    path = kind.path(name="a")
    made = kind.api("POST", kind.path(), {**kind.thing("a", {"size": 1}), "status": {"x": 1}}).expect(201)
    assert made["metadata"]["generation"] == 1
    assert "status" not in made
    labelled = kind.api("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE).expect(200)
    assert labelled["metadata"]["generation"] == 1
    changed = kind.api("PATCH", path, {"spec": {"size": 2}, "status": {"x": 1}}, content_type=MERGE).expect(200)
    assert changed["metadata"]["generation"] == 2
    assert "status" not in changed


def test_status_is_written_by_its_own_path_and_nothing_else_by_it(kind: CustomKind) -> None:
    kind.api("POST", kind.path(), kind.thing("a", {"size": 1})).expect(201)
    change = {"metadata": {"labels": {"a": "b"}}, "spec": {"size": 2}, "status": {"phase": "Fine"}}
    shown = kind.api("PATCH", f"{kind.path(name='a')}/status", change, content_type=MERGE).expect(200)
    assert (shown["spec"], shown["status"]) == ({"size": 1}, {"phase": "Fine"})
    assert shown["metadata"]["generation"] == 1
    assert kind.api("GET", kind.path(name="a")).expect(200)["status"] == {"phase": "Fine"}
    assert kind.api("GET", f"{kind.path(name='a')}/status").expect(200)["spec"] == {"size": 1}


def test_json_patches_do_what_they_say_or_nothing(api: RawApi, maps: str) -> None:
    api("POST", maps, config_map(x="1")).expect(201)
    good = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "add", "path": "/metadata/labels", "value": {}},
        {"op": "add", "path": "/metadata/labels/weft.test~1y", "value": "2"},
        {"op": "remove", "path": "/data/x"},
    ]
    shown = api("PATCH", f"{maps}/a", good, content_type=JSON_PATCH).expect(200)
    assert shown["metadata"]["labels"] == {"weft.test/y": "2"}
    assert not shown.get("data")
    failed = api("PATCH", f"{maps}/a", good[:1], content_type=JSON_PATCH)
    assert (failed.code, failed.reason) == (422, "Invalid")
    assert api("PATCH", f"{maps}/a", {"data": {}}, content_type=JSON_PATCH).code == 400
    assert api("GET", f"{maps}/a").expect(200)["metadata"]["resourceVersion"] == shown["metadata"]["resourceVersion"]


def test_a_merge_patch_replaces_lists_and_removes_by_null(kind: CustomKind) -> None:
    kind.api("POST", kind.path(), kind.thing("a", {"size": 1, "items": [{"name": "x"}, {"name": "y"}]})).expect(201)
    change = {"spec": {"size": None, "items": [{"name": "z", "weight": 1}]}}
    shown = kind.api("PATCH", kind.path(name="a"), change, content_type=MERGE).expect(200)
    assert shown["spec"] == {"items": [{"name": "z", "weight": 1}]}


def test_strategic_patches_merge_containers_by_name_and_are_not_for_custom_kinds(
    api: RawApi, namespace: str, kind: CustomKind
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app", "image": "a:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    api("POST", path, {"metadata": {"name": "a"}, "spec": spec}).expect(201)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "b:1"}]}}}}
    shown = api("PATCH", f"{path}/a", change, content_type=STRATEGIC).expect(200)
    assert sorted(each["name"] for each in shown["spec"]["template"]["spec"]["containers"]) == ["app", "side"]
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    shown = api("PATCH", f"{path}/a", restart, content_type=STRATEGIC).expect(200)
    assert (shown["metadata"]["generation"], len(shown["spec"]["template"]["spec"]["containers"])) == (3, 2)
    kind.api("POST", kind.path(), kind.thing("a", {})).expect(201)
    refused = kind.api("PATCH", kind.path(name="a"), {"spec": {"size": 1}}, content_type=STRATEGIC)
    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")


def test_apply_creates_then_owns_its_fields(kind: CustomKind) -> None:
    path = kind.path(name="a")
    wanted = kind.thing("a", {"size": 1, "items": [{"name": "x", "weight": 1}]})
    kind.api("PATCH", path, wanted, content_type=APPLY, fieldManager="me").expect(201)
    other = kind.thing("a", {"items": [{"name": "y", "weight": 2}]})
    shown = kind.api("PATCH", path, other, content_type=APPLY, fieldManager="you").expect(200)
    assert {each["name"]: each["weight"] for each in shown["spec"]["items"]} == {"x": 1, "y": 2}
    less = kind.thing("a", {"size": 1})
    shown = kind.api("PATCH", path, less, content_type=APPLY, fieldManager="me").expect(200)
    assert shown["spec"] == {"size": 1, "items": [{"name": "y", "weight": 2}]}


def test_apply_meets_the_fields_of_others_with_a_conflict_until_it_is_forced(kind: CustomKind) -> None:
    path = kind.path(name="a")
    kind.api("PATCH", path, kind.thing("a", {"size": 1}), content_type=APPLY, fieldManager="me").expect(201)
    wanted = kind.thing("a", {"size": 2})
    met = kind.api("PATCH", path, wanted, content_type=APPLY, fieldManager="you")
    assert (met.code, met.reason) == (409, "Conflict")
    assert met.message == 'Apply failed with 1 conflict: conflict with "me": .spec.size'
    assert met.causes == [{"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".spec.size"}]
    forced = kind.api("PATCH", path, wanted, content_type=APPLY, fieldManager="you", force="true").expect(200)
    assert forced["spec"] == {"size": 2}
    again = kind.api("PATCH", path, wanted, content_type=APPLY, fieldManager="you").expect(200)
    assert again["metadata"]["resourceVersion"] == forced["metadata"]["resourceVersion"]
    nobody = kind.api("PATCH", path, wanted, content_type=APPLY)
    assert (nobody.code, [each["field"] for each in nobody.causes]) == (422, ["fieldManager"])


def test_a_finalizer_holds_what_is_deleted(kind: CustomKind) -> None:
    path = kind.path(name="a")
    kind.api("POST", kind.path(), kind.thing("a", {}, finalizers=["weft.test/hold"])).expect(201)
    shown = kind.api("DELETE", path).expect(200)
    assert shown["metadata"]["deletionTimestamp"]
    assert kind.api("GET", path).expect(200)["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["weft.test/hold", "weft.test/new"]}}
    assert kind.api("PATCH", path, more, content_type=MERGE).code == 422
    kind.api("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE).expect(200)
    assert kind.api("GET", path).code == 404


def test_a_deletion_says_what_was_deleted(api: RawApi, maps: str, kind: CustomKind) -> None:
    made = api("POST", maps, config_map()).expect(201)
    gone = api("DELETE", f"{maps}/a").expect(200)
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}


def test_a_dry_run_answers_as_if_and_stores_nothing(api: RawApi, maps: str) -> None:
    assert api("POST", maps, config_map(), dryRun="All").code == 201
    assert api("GET", f"{maps}/a").code == 404
    api("POST", maps, config_map(x="1")).expect(201)
    assert api("POST", maps, config_map(), dryRun="All").code == 409
    shown = api("PATCH", f"{maps}/a", {"data": {"x": "2"}}, content_type=MERGE, dryRun="All").expect(200)
    assert shown["data"] == {"x": "2"}
    api("DELETE", f"{maps}/a", dryRun="All").expect(200)
    assert api("GET", f"{maps}/a").expect(200)["data"] == {"x": "1"}


def test_many_are_deleted_at_once_by_their_labels(api: RawApi, maps: str) -> None:
    for name in ("a", "b", "c"):
        thing = config_map(name)
        thing["metadata"]["labels"] = {"keep": "yes" if name == "c" else "no"}
        api("POST", maps, thing).expect(201)
    api("DELETE", maps, labelSelector="keep=no").expect(200)
    left = [each["metadata"]["name"] for each in api("GET", maps).expect(200)["items"]]
    assert [name for name in left if name != "kube-root-ca.crt"] == ["c"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b""])
def test_a_body_that_is_no_object_is_a_bad_request(api: RawApi, maps: str, body: bytes) -> None:
    answer = api("POST", maps, body)
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_a_field_of_the_wrong_type_is_a_bad_request(api: RawApi, namespace: str, maps: str) -> None:
    wrong = {"metadata": {"name": "a"}, "data": {"x": 1}}
    assert api("POST", maps, wrong).code == 400
    services = f"/api/v1/namespaces/{namespace}/services"
    wrong = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": "http"}]}}
    assert api("POST", services, wrong).code == 400


def test_unknown_fields_of_built_in_kinds_are_dropped_with_a_warning(api: RawApi, maps: str) -> None:
    answer = api("POST", maps, {**config_map(), "extra": 1})
    assert "extra" not in answer.expect(201)
    assert answer.warnings == ('299 - "unknown field \\"extra\\""',)
    strict = api("POST", maps, {**config_map("b"), "extra": 1}, fieldValidation="Strict")
    assert strict.code == 400
    assert 'strict decoding error: unknown field "extra"' in strict.message
