"""Conversion between versions: nothing is lost, nothing means something else, nothing is made up."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.objects import RawDocument
from smi.convert import convert
from smi.decode import read
from smi.kept import ANNOTATION
from smi.kinds import HTTPRouteGroup, SmiObject, TrafficSplit
from smi_documents import GROUPS, VERSIONS, documents, pairs

SOME = settings(max_examples=20, deadline=None)


def to(raw: RawDocument, version: str) -> RawDocument:
    made = convert(raw, f"{GROUPS[raw['kind']]}/{version}")
    assert isinstance(made, dict), made
    return made


def meaning(raw: RawDocument) -> SmiObject:
    """What an object means, whatever version it is in; weights as shares, for those are relative."""
    found = read(raw).object
    if raw["kind"] == "HTTPRouteGroup" and not getattr(found, "matches", ()):
        return HTTPRouteGroup(namespace="", name="", api_version="")  # it matches nothing; from v1alpha3 on, an error
    assert isinstance(found, SmiObject), read(raw).problems
    found = replace(found, api_version="")
    if isinstance(found, TrafficSplit):
        total = sum(backend.weight for backend in found.backends) or 1
        shares = tuple(replace(backend, weight=backend.weight * 10**9 // total) for backend in found.backends)
        return replace(found, backends=shares)
    return found


@pytest.mark.parametrize(("kind", "old", "new"), pairs())
@SOME
@given(data=st.data())
def test_v2_there_and_back_again_is_the_same_object(kind: str, old: str, new: str, data: st.DataObject) -> None:
    raw = data.draw(documents(kind, old))
    assert to(to(raw, new), old) == raw


@pytest.mark.parametrize("kind", VERSIONS)
@SOME
@given(data=st.data())
def test_v2_any_way_through_the_versions_ends_where_it_began(kind: str, data: st.DataObject) -> None:
    way = data.draw(st.lists(st.sampled_from(VERSIONS[kind]), min_size=2, max_size=6))
    raw = data.draw(documents(kind, way[0]))
    assert to(reduce(to, way, raw), way[0]) == raw


@pytest.mark.parametrize(("kind", "old", "new"), pairs())
@SOME
@given(data=st.data())
def test_v1_an_object_means_the_same_in_every_version(kind: str, old: str, new: str, data: st.DataObject) -> None:
    raw = data.draw(documents(kind, old))
    assert meaning(to(raw, new)) == meaning(raw)


@pytest.mark.parametrize(("kind", "old", "new"), pairs())
@SOME
@given(data=st.data())
def test_only_annotations_of_the_metadata_change(kind: str, old: str, new: str, data: st.DataObject) -> None:
    raw = data.draw(documents(kind, old))

    def rest(document: dict[str, Any]) -> dict[str, Any]:
        metadata = dict(document["metadata"])
        annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key != ANNOTATION}
        return {**metadata, "others": annotations}

    assert rest(to(raw, new)) == rest(raw)


@pytest.mark.parametrize("version", VERSIONS["TrafficSplit"])
@SOME
@given(data=st.data())
def test_v3_a_split_keeps_its_order_and_gains_no_field(version: str, data: st.DataObject) -> None:
    raw = data.draw(documents("TrafficSplit", data.draw(st.sampled_from(VERSIONS["TrafficSplit"]))))
    made = to(raw, version)
    assert set(made["spec"]) <= set(raw["spec"])
    assert [item["service"] for item in made["spec"]["backends"]] == [
        item["service"] for item in raw["spec"]["backends"]
    ]


@pytest.mark.parametrize(("kind", "old", "new"), pairs())
@SOME
@given(data=st.data(), text=st.text() | st.sampled_from(['{"weights": 1}', "[]", '{"headers":[1]}', '{"body":[]}']))
def test_an_annotation_somebody_made_up_breaks_nothing(
    kind: str, old: str, new: str, data: st.DataObject, text: str
) -> None:
    raw = data.draw(documents(kind, old))
    forged = {**raw, "metadata": {**raw["metadata"], "annotations": {ANNOTATION: text}}}
    assert meaning(to(forged, new)) == meaning(raw)
