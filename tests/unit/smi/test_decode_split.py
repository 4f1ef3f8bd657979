"""TrafficSplit in every version."""

from __future__ import annotations

from typing import Any

import pytest

from kube.problem import Origin, Severity
from smi.decode import Read, read
from smi.kinds import RuleRef, SplitBackend, TrafficSplit

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
LATER = VERSIONS[1:]


def split(version: str, spec: object) -> Read:
    metadata = {"name": "canary", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    raw = {"apiVersion": f"split.smi-spec.io/{version}", "kind": "TrafficSplit", "metadata": metadata, "spec": spec}
    return read(raw, lambda field: Origin(f"at {field}", 1))


def spec(*weights: object, **fields: Any) -> dict[str, Any]:
    backends = [{"service": f"web-v{index}", "weight": weight} for index, weight in enumerate(weights, start=1)]
    return {"service": "web", "backends": backends, **fields}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_becomes_the_same_split(version: str) -> None:
    found = split(version, spec(90, 10))
    assert found.problems == ()
    assert found.object == TrafficSplit(
        namespace="shop",
        name="canary",
        api_version=f"split.smi-spec.io/{version}",
        created="2026-01-01T00:00:00Z",
        origin=Origin("at ", 1),
        service="web",
        backends=(SplitBackend(service="web-v1", weight=90), SplitBackend(service="web-v2", weight=10)),
    )


def weights(found: Read) -> list[int]:
    assert isinstance(found.object, TrafficSplit)
    return [backend.weight for backend in found.object.backends]


def test_v4_quantities_become_thousandths_only_if_one_is_no_whole_number() -> None:
    assert weights(split("v1alpha1", spec("1", "3"))) == [1, 3]
    assert weights(split("v1alpha1", spec("10m", "100m", "1500m"))) == [10, 100, 1500]
    assert weights(split("v1alpha1", spec(1, "1e3", 2.0))) == [1, 1000, 2]


@pytest.mark.parametrize("version", LATER)
@pytest.mark.parametrize("weight", [0.5, -1, "50", "500m", True, [], float("nan"), 10**30])
def test_v5_a_weight_that_is_no_whole_number_sets_the_split_aside(version: str, weight: object) -> None:
    found = split(version, spec(90, weight))
    assert found.object is None
    (problem,) = found.problems
    assert problem.field == "spec.backends[1].weight"
    assert problem.rule == "V5"
    assert problem.origin == Origin("at spec.backends[1].weight", 1)
    assert "the root Service's own endpoints serve" in problem.message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("weight", [-1, "-5", "many", None, {}])
def test_v4_a_bad_or_missing_weight_sets_the_split_aside_in_every_version(version: str, weight: object) -> None:
    found = split(version, spec(weight, 10))
    assert found.object is None
    assert [problem.field for problem in found.problems] == ["spec.backends[0].weight"]


def test_t3_no_backends_and_zero_weights_stand_as_written() -> None:
    assert weights(split("v1alpha4", {"service": "web", "backends": []})) == []
    assert weights(split("v1alpha4", spec(0, 0))) == [0, 0]


def test_t10_the_same_backend_twice_stays_twice() -> None:
    backends = [{"service": "a", "weight": 1}, {"service": "a", "weight": 2}]
    assert weights(split("v1alpha4", {"service": "web", "backends": backends})) == [1, 2]


@pytest.mark.parametrize(
    "name", ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local.", "Web"]
)
def test_t1_the_root_stays_as_written(name: str) -> None:
    found = split("v1alpha4", {**spec(1), "service": name}).object
    assert isinstance(found, TrafficSplit)
    assert found.service == name


@pytest.mark.parametrize("name", ["a/b", "a b", "http://web", "web:80", "-web", "a" * 300, "ä", "a\nb"])
def test_t1_a_root_that_is_no_name_sets_the_split_aside(name: str) -> None:
    found = split("v1alpha4", {**spec(1), "service": name})
    assert found.object is None
    assert [problem.field for problem in found.problems] == ["spec.service"]


@pytest.mark.parametrize("version", ["v1alpha3", "v1alpha4"])
def test_t8_matches_are_references(version: str) -> None:
    found = split(version, spec(1, matches=[{"kind": "HTTPRouteGroup", "name": "ab"}, {"kind": "X", "name": "y"}]))
    assert isinstance(found.object, TrafficSplit)
    assert found.object.matches == (RuleRef(kind="HTTPRouteGroup", name="ab"), RuleRef(kind="X", name="y"))


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_t8_a_version_without_matches_warns_of_them(version: str) -> None:
    found = split(version, spec(1, matches=[{"kind": "HTTPRouteGroup", "name": "ab"}]))
    assert isinstance(found.object, TrafficSplit)
    assert found.object.matches == ()
    assert [(problem.field, problem.severity) for problem in found.problems] == [("spec.matches", Severity.WARNING)]


@pytest.mark.parametrize(
    ("matches", "field"),
    [
        ("ab", "spec.matches"),
        ({}, "spec.matches"),
        (["ab"], "spec.matches[0]"),
        ([{"kind": "HTTPRouteGroup"}], "spec.matches[0].name"),
        ([{"name": "ab"}], "spec.matches[0].kind"),
        ([{"kind": "HTTPRouteGroup", "name": 5}], "spec.matches[0].name"),
    ],
)
def test_t8_a_reference_that_cannot_be_read_never_widens_the_split_to_all_requests(matches: object, field: str) -> None:
    found = split("v1alpha4", spec(1, matches=matches))
    assert found.object is None
    assert [problem.field for problem in found.problems] == [field]


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (None, "spec"),
        ([], "spec"),
        ({"backends": []}, "spec.service"),
        ({"service": "", "backends": []}, "spec.service"),
        ({"service": ["web"], "backends": []}, "spec.service"),
        ({"service": "web"}, "spec.backends"),
        ({"service": "web", "backends": {}}, "spec.backends"),
        ({"service": "web", "backends": ["v1"]}, "spec.backends[0]"),
        ({"service": "web", "backends": [{"weight": 1}]}, "spec.backends[0].service"),
        ({"service": "web", "backends": [{"service": True, "weight": 1}]}, "spec.backends[0].service"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_t12_a_split_of_the_wrong_shape_is_set_aside(version: str, broken: object, field: str) -> None:
    found = split(version, broken)
    assert found.object is None
    assert [problem.field for problem in found.problems] == [field]


def test_an_unknown_field_is_a_warning() -> None:
    found = split("v1alpha4", {**spec(1), "backend": [], "other": 1})
    assert isinstance(found.object, TrafficSplit)
    assert {problem.severity for problem in found.problems} == {Severity.WARNING}
    assert "did you mean backends?" in found.problems[0].message
