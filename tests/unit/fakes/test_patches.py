"""Patches: RFC 6902, RFC 7386 and strategic merge patches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import patches
from tests.fakes.errors import StatusError
from tests.fakes.kinds import Kind


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, None, None),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(old: Any, patch: Any, new: Any) -> None:
    assert patches.merge_patch(old, patch) == new


@pytest.mark.parametrize(
    ("operation", "new"),
    [
        ({"op": "add", "path": "/l/1", "value": 9}, {"l": [1, 9, 2], "m": {"a/b": 1}}),
        ({"op": "add", "path": "/l/-", "value": 9}, {"l": [1, 2, 9], "m": {"a/b": 1}}),
        ({"op": "remove", "path": "/l/0"}, {"l": [2], "m": {"a/b": 1}}),
        ({"op": "replace", "path": "/m/a~1b", "value": 2}, {"l": [1, 2], "m": {"a/b": 2}}),
        ({"op": "move", "from": "/l", "path": "/n"}, {"n": [1, 2], "m": {"a/b": 1}}),
        ({"op": "copy", "from": "/l/0", "path": "/n"}, {"l": [1, 2], "m": {"a/b": 1}, "n": 1}),
        ({"op": "test", "path": "/l/0", "value": 1}, {"l": [1, 2], "m": {"a/b": 1}}),
    ],
    ids=lambda each: each.get("op", ""),
)
def test_a_json_patch_does_what_the_rfc_says(operation: Any, new: Any) -> None:
    assert patches.json_patch({"l": [1, 2], "m": {"a/b": 1}}, [operation]) == new


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "test", "path": "/l/0", "value": 2},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "dance", "path": "/l"},
        {"op": "add", "path": "l", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused_and_changes_nothing(operation: Any) -> None:
    old = {"l": [1, 2]}
    with pytest.raises(StatusError) as caught:
        patches.json_patch(old, [operation])
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert old == {"l": [1, 2]}


def pod(*containers: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        (pod({"name": "b", "image": "new"}), [("a", "1"), ("b", "new")]),
        (pod({"name": "c", "image": "new"}), [("c", "new"), ("a", "1"), ("b", "2")]),
        (pod({"name": "a", "$patch": "delete"}), [("b", "2")]),
        (pod({"name": "c", "image": "3"}, {"$patch": "replace"}), [("c", "3")]),
    ],
    ids=["known", "new one comes first", "delete", "replace"],
)
def test_a_strategic_patch_merges_containers_by_name(patch: Any, names: Any) -> None:
    old = pod({"name": "a", "image": "1"}, {"name": "b", "image": "2"})
    new = patches.strategic(old, patch, ("Pod",))
    assert [(each["name"], each["image"]) for each in new["spec"]["containers"]] == names


def test_a_strategic_patch_of_a_custom_kind_is_refused() -> None:
    kind = Kind("example.com", "v1", "things", "Thing", True, crd={})
    with pytest.raises(StatusError) as caught:
        patches.patcher(kind, "application/strategic-merge-patch+json", {})
    assert caught.value.code == 415
