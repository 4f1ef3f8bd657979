"""Conversion between versions, case by case. That nothing is lost in general is shown in tests/property."""

from __future__ import annotations

from typing import Any

import pytest

from kube.objects import RawDocument
from kube.problem import Problem
from smi.convert import convert
from smi.decode import read
from smi.kept import ANNOTATION
from smi.kinds import TCPRoute, TrafficSplit, TrafficTarget

META = {"name": "x", "namespace": "shop", "uid": "u", "labels": {"app": "x"}, "resourceVersion": "7"}


def made(kind: str, api_version: str, **body: Any) -> RawDocument:
    return {"apiVersion": api_version, "kind": kind, "metadata": dict(META), **body}


def to(raw: RawDocument, version: str) -> RawDocument:
    found = convert(raw, f"{raw['apiVersion'].partition('/')[0]}/{version}")
    assert isinstance(found, dict), found
    return found


def split(version: str, *weights: object, **spec: Any) -> RawDocument:
    backends = [{"service": f"web-{index}", "weight": weight} for index, weight in enumerate(weights)]
    return made("TrafficSplit", f"split.smi-spec.io/{version}", spec={"service": "web", "backends": backends, **spec})


def target(version: str, **port: object) -> RawDocument:
    destination = {"kind": "ServiceAccount", "name": "api", **port}
    spec = {
        "destination": destination,
        "sources": [{"kind": "ServiceAccount", "name": "web"}],
        "rules": [{"kind": "TCPRoute", "name": "all"}],
    }
    return made("TrafficTarget", f"access.smi-spec.io/{version}", spec=spec)


def group(version: str, *matches: object, **body: Any) -> RawDocument:
    old = version in {"v1alpha1", "v1alpha2"}
    held = {"matches": list(matches)} if old else {"spec": {"matches": list(matches)}}
    return made("HTTPRouteGroup", f"specs.smi-spec.io/{version}", **(held if matches else {}), **body)


def weights(raw: RawDocument) -> list[object]:
    return [backend["weight"] for backend in raw["spec"]["backends"]]


@pytest.mark.parametrize("version", ["v1alpha2", "v1alpha3", "v1alpha4"])
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["0", "100"], [0, 100]),
        ([1, 3], [1, 3]),
        (["1e3", "2k"], [1000, 2000]),
        (["1", "500m"], [1000, 500]),
        (["10m", "100m", "1500m"], [10, 100, 1500]),
        ([], []),
    ],
)
def test_v4_quantities_become_whole_numbers(version: str, written: list[object], read: list[int]) -> None:
    assert weights(to(split("v1alpha1", *written), version)) == read


def test_v4_whole_numbers_become_the_text_of_a_quantity() -> None:
    assert weights(to(split("v1alpha4", 0, 100), "v1alpha1")) == ["0", "100"]


def test_v4_changed_weights_of_thousandths_are_read_as_whole_quantities() -> None:
    stored = to(split("v1alpha1", "1", "500m"), "v1alpha4")
    stored["spec"]["backends"][0]["weight"] = 900
    back = to(stored, "v1alpha1")
    assert weights(back) == ["900", "500"]
    assert "annotations" not in back["metadata"]


@pytest.mark.parametrize("weight", ["-1", "many", None, True, "9e30"])
def test_a_weight_that_is_none_names_the_object_and_the_field(weight: object) -> None:
    found = convert(split("v1alpha1", "1", weight), "split.smi-spec.io/v1alpha4")
    assert isinstance(found, Problem)
    assert (str(found.object), found.field) == ("TrafficSplit shop/x", "spec.backends[1].weight")


def test_a_weight_too_large_to_count_in_thousandths_is_refused() -> None:
    found = convert(split("v1alpha1", "9E", "1m"), "split.smi-spec.io/v1alpha4")
    assert isinstance(found, Problem)
    assert "too large" in found.message


def test_v3_what_canary_controllers_write_needs_no_annotation() -> None:
    for version, shares in (("v1alpha1", ("0", "100")), ("v1alpha2", (0, 100)), ("v1alpha3", (0, 100))):
        assert to(split(version, *shares), "v1alpha4")["metadata"] == META


def test_v2_matches_survive_a_controller_that_knows_none() -> None:
    shown = to(split("v1alpha4", 1, matches=[{"kind": "HTTPRouteGroup", "name": "beta"}]), "v1alpha2")
    assert "matches" not in shown["spec"]
    shown["spec"]["backends"] = [{"service": "web-0", "weight": 5}]
    assert to(shown, "v1alpha4") == split("v1alpha4", 5, matches=[{"kind": "HTTPRouteGroup", "name": "beta"}])


def test_v2_a_split_read_in_an_old_version_still_has_its_matches() -> None:
    shown = to(split("v1alpha4", 1, matches=[{"kind": "HTTPRouteGroup", "name": "beta"}]), "v1alpha1")
    found = read(shown).object
    assert isinstance(found, TrafficSplit)
    assert [group.name for group in found.matches] == ["beta"]


def limit(raw: RawDocument) -> int | None:
    found = read(raw).object
    assert isinstance(found, TrafficTarget)
    return found.destination.port


@pytest.mark.parametrize("port", [8080, "8080"])
def test_v7_the_port_of_a_destination_survives_and_is_enforced(port: object) -> None:
    stored = to(target("v1alpha2", port=port), "v1alpha3")
    assert "port" not in stored["spec"]["destination"]
    assert limit(stored) == 8080
    assert to(stored, "v1alpha2") == target("v1alpha2", port=port)


def test_v7_the_port_survives_a_change_of_the_sources() -> None:
    stored = to(target("v1alpha2", port=8080), "v1alpha3")
    stored["spec"]["sources"] = []
    assert limit(stored) == 8080


def test_v2_the_port_belongs_to_its_destination() -> None:
    stored = to(target("v1alpha2", port=8080), "v1alpha3")
    stored["spec"]["destination"] = {"kind": "ServiceAccount", "name": "other"}
    assert limit(stored) is None
    assert to(stored, "v1alpha2")["spec"]["destination"] == {"kind": "ServiceAccount", "name": "other"}


def test_the_first_version_of_a_target_has_no_spec() -> None:
    shown = to(target("v1alpha3"), "v1alpha1")
    assert shown["destination"] == {"kind": "ServiceAccount", "name": "api"}
    assert shown["specs"] == [{"kind": "TCPRoute", "name": "all"}]
    assert "spec" not in shown


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_v8_a_tcp_route_without_a_body_is_about_all_ports(version: str) -> None:
    stored = to(made("TCPRoute", f"specs.smi-spec.io/{version}"), "v1alpha4")
    assert stored["spec"] == {"matches": {"ports": []}}
    assert stored["metadata"] == META


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_v8_ports_survive_a_version_without_them(version: str) -> None:
    raw = made("TCPRoute", "specs.smi-spec.io/v1alpha4", spec={"matches": {"ports": [80]}})
    shown = to(raw, version)
    assert "spec" not in shown
    found = read(shown).object
    assert isinstance(found, TCPRoute)
    assert found.ports == (80,)


@pytest.mark.parametrize("headers", [{"host": "a"}, [{"host": "a"}, {"x": "b"}]])
def test_v6_headers_stay_as_written(headers: object) -> None:
    raw = group("v1alpha2", {"name": "m", "headers": headers})
    assert to(raw, "v1alpha4")["spec"]["matches"][0]["headers"] == headers


def test_v2_headers_stay_with_the_match_they_narrow() -> None:
    shown = to(group("v1alpha4", {"name": "a", "headers": {"host": "a"}}, {"name": "b"}), "v1alpha1")
    assert shown["matches"] == [{"name": "a"}, {"name": "b"}]
    shown["matches"] = [{"name": "new"}, {"name": "a"}]
    assert to(shown, "v1alpha4")["spec"]["matches"] == [{"name": "new"}, {"name": "a", "headers": {"host": "a"}}]


def test_v2_equal_matches_are_told_apart_by_their_order() -> None:
    raw = group("v1alpha4", {"name": "a"}, {"name": "a", "headers": {"host": "a"}})
    assert to(to(raw, "v1alpha1"), "v1alpha4") == raw


def test_v9_matches_at_the_top_stay_there() -> None:
    raw = made("HTTPRouteGroup", "specs.smi-spec.io/v1alpha4", matches=[{"name": "m"}])
    shown = to(raw, "v1alpha2")
    shown["matches"].append({"name": "n"})
    assert to(shown, "v1alpha4")["matches"] == [{"name": "m"}, {"name": "n"}]


def test_other_annotations_stay() -> None:
    raw = target("v1alpha2", port=1)
    raw["metadata"]["annotations"] = {"mine": "1"}
    stored = to(raw, "v1alpha3")
    assert set(stored["metadata"]["annotations"]) == {"mine", ANNOTATION}
    assert to(stored, "v1alpha2") == raw


def test_conversion_changes_nothing_in_what_it_is_given() -> None:
    raw = target("v1alpha2", port=1)
    to(to(raw, "v1alpha3"), "v1alpha1")
    assert raw == target("v1alpha2", port=1)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (split("v1alpha1"), "split.smi-spec.io/v1"),
        (split("v1alpha1"), "access.smi-spec.io/v1alpha3"),
        (split("v1"), "split.smi-spec.io/v1alpha4"),
        (made("UDPRoute", "specs.smi-spec.io/v1alpha4"), "specs.smi-spec.io/v1alpha3"),
        (made("Pod", "v1"), "v2"),
        ({}, "split.smi-spec.io/v1alpha4"),
    ],
)
def test_what_has_no_such_version_is_a_problem(raw: RawDocument, wanted: str) -> None:
    found = convert(raw, wanted)
    assert isinstance(found, Problem)
    assert "can't be converted" in found.message
