"""JSON that is nested too deeply is decoded all the same, and what was too deep shows as a mistake."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.shallow import decoded, shallow

ANY = msgspec.json.Decoder()


def nested(depth: int) -> bytes:
    return b'{"a":{"b":' + b'[{"c":"}]"},' * depth + b"1" + b"]" * depth + b'},"d":2}'


@pytest.mark.parametrize("depth", [2000, 9990, 200_000])
def test_what_is_too_deep_becomes_text_and_the_rest_stays(depth: int) -> None:
    found = decoded(ANY, nested(depth))
    assert found["d"] == 2
    assert found["a"]["b"][0] == {"c": "}]"}
    inner: Any = found["a"]["b"]
    while isinstance(inner, list):
        inner = inner[1]
    assert inner == "(nested too deeply)"


def test_what_is_no_json_stays_none() -> None:
    with pytest.raises(msgspec.DecodeError):
        decoded(ANY, b'{"a":' + b"[" * 5000)


values = st.recursive(
    st.none() | st.integers() | st.text('a"\\]}[{'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"]', max_size=2), inner, max_size=3),
    max_leaves=12,
)


def cut(value: Any, depth: int) -> Any:
    """What is meant, said the slow way."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {key: cut(item, depth - 1) for key, item in value.items()}
    return [cut(item, depth - 1) for item in value]


@given(values, st.integers(0, 4))
def test_everything_below_a_level_is_replaced_and_nothing_else(value: Any, depth: int) -> None:
    assert json.loads(shallow(json.dumps(value).encode(), depth)) == cut(value, depth)
