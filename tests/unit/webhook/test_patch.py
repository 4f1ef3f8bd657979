"""A patch makes the second document of the first, and names no more than what differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from json_patch import applied
from webhook.patch import json_patch

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])
KEYS = st.sampled_from(["name", "a", "b/c", "~", ""])
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcdef")}, optional={"x": LEAVES}), max_size=5,
    unique_by=lambda item: item["name"],
)  # fmt: skip
DOCUMENTS = st.recursive(
    LEAVES | NAMED, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(DOCUMENTS, DOCUMENTS)
def test_the_patch_leads_from_one_document_to_the_other(before: Any, after: Any) -> None:
    made = applied(before, json_patch(before, after))
    assert repr(sorted_keys(made)) == repr(sorted_keys(after))  # by repr, since in Python True is 1


@given(NAMED, NAMED)
def test_lists_of_named_things_too(before: Any, after: Any) -> None:
    assert applied(before, json_patch(before, after)) == after


@given(DOCUMENTS)
def test_equal_documents_need_no_step(document: Any) -> None:
    assert json_patch(document, document) == []


def test_what_is_put_between_named_things_is_added_there() -> None:
    before = {"containers": [{"name": "a", "probe": 1}, {"name": "b"}]}
    after = {"containers": [{"name": "proxy"}, {"name": "a", "probe": 2}, {"name": "b"}]}
    assert json_patch(before, after) == [
        {"op": "add", "path": "/containers/0", "value": {"name": "proxy"}},
        {"op": "replace", "path": "/containers/1/probe", "value": 2},
    ]


@pytest.mark.parametrize("after", [[{"name": "b"}, {"name": "a"}], [{"name": "a"}], [{"name": "a"}, 3]])
def test_a_list_that_lost_something_is_written_anew(after: Any) -> None:
    before = [{"name": "a"}, {"name": "b"}]
    assert json_patch({"x": before}, {"x": after}) == [{"op": "replace", "path": "/x", "value": after}]


def test_names_with_slashes_are_escaped() -> None:
    steps = json_patch({"annotations": {"c~d": "1"}}, {"annotations": {"weft.dev/injected": "true"}})
    assert steps == [
        {"op": "remove", "path": "/annotations/c~0d"},
        {"op": "add", "path": "/annotations/weft.dev~1injected", "value": "true"},
    ]


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value
