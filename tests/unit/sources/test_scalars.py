"""Scalars mean what they mean to kubectl."""

from __future__ import annotations

import pytest

from sources.scalars import Scalar, plain_scalar, tagged_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("nUll", "nUll"),
        ("true", True), ("yes", True), ("on", True), ("y", True), ("No", False), ("OFF", False), ("n", False),
        ("yEs", "yEs"), ("1", 1), ("-7", -7), ("+7", 7), ("1_000", 1000), ("0x1F", 31), ("0b101", 5), ("017", 15),
        ("0o17", 15), ("08", 8.0), ("0", 0), ("00", 0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1E-1", 0.1),
        ("1.", 1.0), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("10m", "10m"), ("1e", "1e"), ("-", "-"), (".", "."), ("1.2.3", "1.2.3"), ("=", "="), ("0x", "0x"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_read_as_kubectl_reads_it(text: str, value: Scalar) -> None:
    read = plain_scalar(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", [".nan", ".NaN", ".inf", "-.INF", "+.Inf", "1e999", "-1e999", "9" * 41, "0." + "1" * 41]
)
def test_what_json_has_no_value_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        plain_scalar(text)


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [("!", "5", "5"), ("str", "yes", "yes"), ("int", "5", 5), ("float", "5", 5), ("bool", "on", True),
     ("timestamp", "2026-01-01", "2026-01-01")],
)  # fmt: skip
def test_a_tag_decides(tag: str, text: str, value: Scalar) -> None:
    assert tagged_scalar(tag if tag == "!" else f"tag:yaml.org,2002:{tag}", text) == value


@pytest.mark.parametrize(
    ("tag", "text"),
    [("tag:yaml.org,2002:int", "x"), ("tag:yaml.org,2002:int", "true"), ("tag:yaml.org,2002:binary", "AA=="),
     ("!custom", "x"), ("tag:yaml.org,2002:python/object:os.system", "x"), ("tag:yaml.org,2002:bool", "1")],
)  # fmt: skip
def test_a_tag_that_does_not_fit_or_is_unknown_is_refused(tag: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"type|supported"):
        tagged_scalar(tag, text)
