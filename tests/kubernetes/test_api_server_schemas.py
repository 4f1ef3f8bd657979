"""Contract: what an API server does with custom objects by their structural schema, word for word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from custom_kind import CustomKind, custom_kind, served
from raw_api import MERGE, RawApi

TEXT = {"type": "string"}
ITEM = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "weight": {"type": "number"}}}
FIELDS: dict[str, Any] = {
    "short": {"type": "string", "maxLength": 3, "pattern": "^a"},
    "count": {"type": "integer", "minimum": 1, "format": "int32"},
    "color": {"type": "string", "enum": ["red", "blue"]},
    "quantity": {"x-kubernetes-int-or-string": True},
    "digits": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": "^[0-9]+$",
    },
    "items": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": ITEM,
    },
    "names": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
    "filled": {"type": "string", "default": "full"},
    "inner": {"type": "object", "default": {}, "properties": {"deep": {"type": "integer", "default": 7}}},
    "free": {"type": "object", "additionalProperties": TEXT},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": TEXT}},
    "maybe": {"type": "string", "nullable": True},
    "either": {
        "type": "object",
        "properties": {"left": TEXT, "right": TEXT},
        "oneOf": [{"required": ["left"]}, {"required": ["right"]}],
    },
    "share": {"type": "number", "maximum": 1.5},
    "when": {"type": "string", "format": "date-time"},
    "odd": {"type": "integer", "not": {"enum": [2]}},
}


@pytest.fixture(scope="module")
def module_kind(api: RawApi, shared_namespace: str) -> Iterator[CustomKind]:
    with custom_kind(api, shared_namespace, served("v1", storage=True, **FIELDS)) as made:
        yield made


@pytest.fixture
def kind(module_kind: CustomKind) -> Iterator[CustomKind]:
    yield module_kind
    module_kind.api("DELETE", module_kind.path())


def wrong_type(field: str, wanted: str, got: str) -> tuple[str, str, str]:
    message = f'Invalid value: "{got}": {field} in body must be of type {wanted}: "{got}"'
    return field, "FieldValueTypeInvalid", message


def invalid(field: str, value: str, fault: str) -> tuple[str, str, str]:
    return field, "FieldValueInvalid", f"Invalid value: {value}: {field} in body {fault}"


def general(text: str) -> tuple[str, str, str]:
    return "<nil>", "FieldValueInvalid", f'Invalid value: "": {text}'


CASES: dict[str, tuple[Any, list[tuple[str, str, str]]]] = {
    "no object": ("x", [wrong_type("spec", "object", "string")]),
    "too long": (
        {"short": "abcd"},
        [("spec.short", "FieldValueTooLong", "Too long: may not be more than 3 bytes")],
    ),
    "pattern": ({"short": "b"}, [invalid("spec.short", '"b"', "should match '^a'")]),
    "no text": ({"short": 1}, [wrong_type("spec.short", "string", "integer")]),
    "too small": ({"count": 0}, [invalid("spec.count", "0", "should be greater than or equal to 1")]),
    "too big for its format": (
        {"count": 2**40},
        [general("Checked value must be of type integer with format int32 in spec.count")],
    ),
    "text for a number": ({"count": "1"}, [wrong_type("spec.count", "integer", "string")]),
    "not in the list": (
        {"color": "green"},
        [("spec.color", "FieldValueNotSupported", 'Unsupported value: "green": supported values: "red", "blue"')],
    ),
    "neither int nor string": ({"quantity": True}, [wrong_type("spec.quantity", "integer,string", "boolean")]),
    "neither alternative": (
        {"digits": True},
        [
            wrong_type("spec.digits", "integer,string", "boolean"),
            general('"spec.digits" must validate at least one schema (anyOf)'),
            wrong_type("spec.digits", "integer", "boolean"),
        ],
    ),
    "pattern of int-or-string": ({"digits": "x"}, [invalid("spec.digits", '"x"', "should match '^[0-9]+$'")]),
    "too few": ({"items": []}, [invalid("spec.items", "0", "should have at least 1 items")]),
    "too many": (
        {"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
        [("spec.items", "FieldValueTooMany", "Too many: 3: must have at most 2 items")],
    ),
    "same key": (
        {"items": [{"name": "a"}, {"name": "a", "weight": 1}]},
        [("spec.items[1]", "FieldValueDuplicate", 'Duplicate value: {"name":"a"}')],
    ),
    "same in a set": ({"names": ["a", "a"]}, [("spec.names[1]", "FieldValueDuplicate", 'Duplicate value: "a"')]),
    "missing": ({"items": [{}]}, [("spec.items[0].name", "FieldValueRequired", "Required value")]),
    "null in a list": ({"items": [None]}, [wrong_type("spec.items[0]", "object", "null")]),
    "no list": ({"items": "a"}, [wrong_type("spec.items", "array", "string")]),
    "value of a map": ({"free": {"a": 1}}, [wrong_type("spec.free.a", "string", "integer")]),
    "none of one": (
        {"either": {}},
        [
            general('"spec.either" must validate one and only one schema (oneOf). Found none valid'),
            ("spec.either.left", "FieldValueRequired", "Required value"),
        ],
    ),
    "both of one": (
        {"either": {"left": "a", "right": "b"}},
        [general('"spec.either" must validate one and only one schema (oneOf). Found 2 valid alternatives')],
    ),
    "too big": ({"share": 1.75}, [invalid("spec.share", "1.75", "should be less than or equal to 1.5")]),
    "no date": (
        {"when": "today"},
        [
            (
                "spec.when",
                "FieldValueTypeInvalid",
                'Invalid value: "today": spec.when in body must be of type date-time: "today"',
            )
        ],
    ),
    "not allowed": ({"odd": 2}, [general('"spec.odd" must not validate the schema (not)')]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_breaks_the_schema_is_told_by_field(kind: CustomKind, case: str) -> None:
    spec, causes = CASES[case]
    answer = kind.api("POST", kind.path(), kind.thing("a", spec))
    assert answer.code == 422
    assert answer.reason == "Invalid"
    assert [(each["field"], each["reason"], each["message"]) for each in answer.causes] == causes
    texts = [f"{field}: {message}" for field, _, message in causes]
    said = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    assert answer.message == f'Thing.{kind.group} "a" is invalid: {said}'
    assert answer.document["details"]["kind"] == "Thing"
    assert answer.document["details"]["group"] == kind.group


def test_several_mistakes_are_told_at_once(kind: CustomKind) -> None:
    answer = kind.api("POST", kind.path(), kind.thing("a", {"short": 1, "count": 0, "color": "green"}))
    assert sorted(each["field"] for each in answer.causes) == ["spec.color", "spec.count", "spec.short"]


def test_what_is_right_is_stored_with_its_defaults(kind: CustomKind) -> None:
    spec = {
        "short": "abc",
        "count": 5,
        "color": "red",
        "quantity": "50%",
        "digits": 10,
        "items": [{"name": "a", "weight": 1.5}],
        "free": {"x": "y"},
        "maybe": None,
        "when": "2026-01-02T03:04:05Z",
        "either": {"left": "a"},
    }
    stored = kind.api("POST", kind.path(), kind.thing("a", spec)).expect(201)
    assert stored["spec"] == {**spec, "filled": "full", "inner": {"deep": 7}}


def test_a_null_is_as_if_it_were_not_there_where_none_is_allowed(kind: CustomKind) -> None:
    spec = {"short": None, "filled": None, "maybe": None, "free": {"x": None}}
    stored = kind.api("POST", kind.path(), kind.thing("a", spec)).expect(201)
    assert stored["spec"] == {"filled": "full", "maybe": None, "free": {}, "inner": {"deep": 7}}


def test_unknown_fields_are_pruned_with_a_warning(kind: CustomKind) -> None:
    spec = {"colour": "red", "items": [{"name": "a", "size": 1}], "any": {"known": "a", "other": {"x": 1}}}
    answer = kind.api("POST", kind.path(), kind.thing("a", spec))
    kept = {"items": [{"name": "a"}], "any": {"known": "a", "other": {"x": 1}}}
    assert answer.expect(201)["spec"] == {**kept, "filled": "full", "inner": {"deep": 7}}
    assert sorted(answer.warnings) == [
        '299 - "unknown field \\"spec.colour\\""',
        '299 - "unknown field \\"spec.items[0].size\\""',
    ]


def test_unknown_fields_are_refused_where_the_writer_wishes(kind: CustomKind) -> None:
    thing = kind.thing("a", {"colour": "red", "size": 1})
    answer = kind.api("POST", kind.path(), thing, fieldValidation="Strict")
    assert answer.code == 400
    assert answer.reason == "BadRequest"
    assert answer.message == (
        'Thing in version "v1" cannot be handled as a Thing: strict decoding error: '
        'unknown field "spec.colour", unknown field "spec.size"'
    )
    silent = kind.api("POST", kind.path(), thing, fieldValidation="Ignore")
    assert (silent.code, silent.warnings) == (201, ())


def test_unknown_fields_of_metadata_and_root_are_pruned_too(kind: CustomKind) -> None:
    thing = kind.thing("a", {}, mistake=1) | {"extra": {}}
    answer = kind.api("POST", kind.path(), thing)
    stored = answer.expect(201)
    assert "extra" not in stored
    assert "mistake" not in stored["metadata"]
    assert sorted(answer.warnings) == [
        '299 - "unknown field \\"extra\\""',
        '299 - "unknown field \\"metadata.mistake\\""',
    ]


def test_a_mistake_that_was_there_before_the_schema_does_not_stop_other_changes(api: RawApi, namespace: str) -> None:
    with custom_kind(api, namespace, served("v1", storage=True, **FIELDS)) as kind:
        _tighten(kind)


def _tighten(kind: CustomKind) -> None:
    kind.api("POST", kind.path(), kind.thing("a", {"short": "abc", "items": [{"name": "a"}]})).expect(201)
    crd = kind.api("GET", kind.crd).expect(200)
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields["short"] = {"type": "string", "maxLength": 2}
    kind.api("PUT", kind.crd, crd).expect(200)
    while kind.api("POST", kind.path(), kind.thing("b", {"short": "abc"}), dryRun="All").code == 201:
        pass  # until the new schema is in force
    path = kind.path(name="a")
    labelled = kind.api("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, content_type=MERGE)
    assert labelled.code == 200
    assert kind.api("PATCH", path, {"spec": {"color": "red"}}, content_type=MERGE).code == 200
    worse = kind.api("PATCH", path, {"spec": {"short": "abcd"}}, content_type=MERGE)
    assert [each["field"] for each in worse.causes] == ["spec.short"]


def test_the_body_has_to_be_of_the_kind_that_the_path_says(kind: CustomKind) -> None:
    wrong = kind.api("POST", kind.path(), {**kind.thing("a"), "kind": "Other"})
    assert wrong.code == 422
    assert [each["message"] for each in wrong.causes] == ['Invalid value: "Other": must be Thing']
    version = kind.api("POST", kind.path(), {**kind.thing("a"), "apiVersion": f"{kind.group}/v2"})
    assert version.code == 400
    assert version.message == (
        f"the API version in the data ({kind.group}/v2) does not match the expected API version ({kind.group}/v1)"
    )
    assert kind.api("POST", kind.path(), {"metadata": {"name": "a"}}).code == 400
