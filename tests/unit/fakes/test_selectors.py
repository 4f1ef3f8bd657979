"""Label and field selectors."""

from __future__ import annotations

import pytest

from tests.fakes import selectors
from tests.fakes.errors import StatusError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=1", True),
        ("a==1", True),
        ("a!=1", False),
        ("z!=1", True),
        ("a", True),
        ("!a", False),
        ("!z", True),
        ("a in (1,2)", True),
        ("a notin (1, 2)", False),
        ("z notin (1)", True),
        ("a=1,b=2", True),
        ("a=1,b in (3,4)", False),
        ("example.com/x=", False),
        ("", True),
    ],
)
def test_labels_are_selected(text: str, found: bool) -> None:
    assert selectors.labels(text)({"metadata": {"labels": {"a": "1", "b": "2"}}}) is found


@pytest.mark.parametrize("text", ["a in 1", "=1", "a===b", "a,,=", "a b"])
def test_a_selector_that_can_not_be_read_is_a_bad_request(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        selectors.labels(text)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("spec.nodeName=", True),
        ("spec.nodeName!=", False),
        ("status.phase=Running,metadata.namespace=n", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_fields_are_selected(text: str, found: bool) -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {}, "status": {"phase": "Running"}}
    assert selectors.fields(text, "pods")(pod) is found


def test_a_field_that_can_not_be_selected_by_is_a_bad_request() -> None:
    with pytest.raises(StatusError):
        selectors.fields("spec.color=red", "pods")


def test_the_name_a_selector_asks_for_is_found() -> None:
    assert selectors.exact_name("metadata.namespace=x,metadata.name=a") == "a"
    assert selectors.exact_name("metadata.name!=a") == ""
