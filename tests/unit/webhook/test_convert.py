"""ConversionReviews: all objects or none, and a failure that names its object."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.convert import review


def split(name: str, weight: object) -> dict[str, Any]:
    spec = {"service": "web", "backends": [{"service": "web", "weight": weight}]}
    metadata = {"name": name, "namespace": "shop", "uid": name, "finalizers": ["keep"]}
    return {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": metadata, "spec": spec}


def asked(*objects: object, wanted: object = "split.smi-spec.io/v1alpha4") -> dict[str, Any]:
    request = {"uid": "r", "desiredAPIVersion": wanted, "objects": list(objects)}
    return review({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request})


def test_all_objects_come_back_in_order() -> None:
    answer = asked(split("a", "1"), split("b", "2"))
    assert answer["apiVersion"] == "apiextensions.k8s.io/v1"
    assert answer["kind"] == "ConversionReview"
    response = answer["response"]
    assert response["uid"] == "r"
    assert response["result"] == {"status": "Success"}
    converted = response["convertedObjects"]
    assert [item["metadata"] for item in converted] == [split("a", 1)["metadata"], split("b", 1)["metadata"]]
    assert [item["spec"]["backends"][0]["weight"] for item in converted] == [1, 2]


def test_objects_of_several_versions_may_stand_in_one_review() -> None:
    newest = {**split("b", 2), "apiVersion": "split.smi-spec.io/v1alpha4"}
    converted = asked(split("a", "1"), newest)["response"]["convertedObjects"]
    assert {item["apiVersion"] for item in converted} == {"split.smi-spec.io/v1alpha4"}


def test_a_failure_names_the_object_and_the_field() -> None:
    response = asked(split("a", "1"), split("b", "many"))["response"]
    assert "convertedObjects" not in response
    assert response["result"]["status"] == "Failure"
    assert response["result"]["message"].startswith("TrafficSplit shop/b: spec.backends[0].weight: ")


def test_no_objects_are_converted_to_none() -> None:
    assert asked()["response"]["convertedObjects"] == []


@pytest.mark.parametrize(
    "request_",
    [{}, {"request": None}, {"request": {"uid": "r"}}, {"request": {"objects": {}, "desiredAPIVersion": "a"}}],
)
def test_a_review_without_a_question_fails(request_: dict[str, Any]) -> None:
    assert review(request_)["response"]["result"]["status"] == "Failure"


def test_what_is_no_object_fails() -> None:
    assert asked(split("a", "1"), 7)["response"]["result"]["status"] == "Failure"
