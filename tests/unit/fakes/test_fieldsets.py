"""Sets of fields as managedFields keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import fieldsets
from tests.fakes.kinds import Kind

POD = Kind("", "v1", "pods", "Pod", True)


def crd(**of_spec: Any) -> Kind:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": of_spec}}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    return Kind("example.com", "v1", "things", "Thing", True, crd={"spec": {"versions": [version]}})


def test_an_object_has_a_path_for_every_leaf_and_for_every_item_of_a_keyed_list() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {"x": "1"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    container = ("f:spec", "f:containers", 'k:{"name":"c"}')
    assert fieldsets.of(POD, pod) == {
        ("f:metadata", "f:labels", "f:x"),
        container,
        (*container, "f:name"),
        (*container, "f:image"),
    }


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ({"type": "array"}, {("f:spec", "f:l")}),
        ({"type": "array", "x-kubernetes-list-type": "set"}, {("f:spec", "f:l", 'v:{"k":"1","v":2}')}),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
            {
                ("f:spec", "f:l", 'k:{"k":"1"}'),
                ("f:spec", "f:l", 'k:{"k":"1"}', "f:k"),
                ("f:spec", "f:l", 'k:{"k":"1"}', "f:v"),
            },
        ),
    ],
    ids=["atomic", "set", "map"],
)
def test_the_crds_schema_says_how_a_list_is_owned(schema: Any, paths: set[fieldsets.Path]) -> None:
    assert fieldsets.of(crd(l=schema), {"spec": {"l": [{"k": "1", "v": 2}]}}) == paths


def test_a_tree_and_its_paths_are_the_same_thing() -> None:
    pod = {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}], "nodeName": "n"}}
    paths = fieldsets.of(POD, pod)
    assert fieldsets.decoded(fieldsets.encoded(paths)) == paths


def test_a_port_without_protocol_is_the_tcp_port() -> None:
    old = {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "a"}]}]}}
    new = {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "name": "b"}]}]}}
    merged = fieldsets.merged(POD, old, new)
    assert merged["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "name": "b"}]


def test_removing_the_last_field_removes_the_map_it_was_in() -> None:
    thing = {"metadata": {"labels": {"x": "1"}}, "spec": {"nodeName": "n"}}
    gone = [("f:metadata", "f:labels", "f:x")]
    assert fieldsets.without(thing, gone, {("f:spec", "f:nodeName")}) == {"spec": {"nodeName": "n"}}


def test_a_map_in_which_another_owns_a_field_stays() -> None:
    thing = {"metadata": {"labels": {"x": "1", "y": "2"}}}
    kept = {("f:metadata", "f:labels", "f:y")}
    left = fieldsets.without(thing, [("f:metadata", "f:labels", "f:x")], kept)
    assert left == {"metadata": {"labels": {"y": "2"}}}


def test_conflicts_show_paths_as_people_write_them() -> None:
    path = ("f:spec", "f:containers", 'k:{"name":"c"}', "f:image")
    assert fieldsets.shown(path) == '.spec.containers[name="c"].image'
