"""The CRDs: their files are current, and they agree with the decoders and the conversions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi import kinds
from smi.convert import convert
from smi.decode import read
from smi.definitions import DEFINITIONS, Definition, document, files
from smi.kinds import SmiObject
from smi_documents import VERSIONS, documents
from tests.fakes import schema as judging
from tests.fakes import structural

CRDS = Path(__file__).parents[3] / "deploy/crds"
DECODED = [definition for definition in DEFINITIONS if not definition.draft]
EACH = [(definition, version) for definition in DECODED for version in (*definition.versions, *definition.drafts)]


def ids(value: object) -> str:
    return value.kind if isinstance(value, Definition) else str(value)


def schema(definition: Definition, version: str) -> dict[str, Any]:
    found = next(item for item in document(definition)["spec"]["versions"] if item["name"] == version)
    made: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    return made


def test_the_files_are_those_that_make_crds_writes() -> None:
    wanted = dict(files())
    assert {path.relative_to(CRDS) for path in CRDS.rglob("*.yaml")} == set(wanted)
    assert {path: (CRDS / path).read_text() for path in wanted} == wanted


def test_every_smi_kind_that_is_read_has_a_definition() -> None:
    known = {name for name, kind in vars(kinds).items() if isinstance(kind, type) and issubclass(kind, SmiObject)}
    assert known - {"SmiObject"} == {definition.kind for definition in DEFINITIONS}


@pytest.mark.parametrize(("definition", "version"), EACH, ids=ids)
def test_v1_every_version_served_is_read_and_converted(definition: Definition, version: str) -> None:
    metadata = {"name": "a", "namespace": "shop"}
    raw = {"apiVersion": f"{definition.group}/{version}", "kind": definition.kind, "metadata": metadata}
    problems = read(raw).problems
    assert all(problem.field != "apiVersion" for problem in problems)
    for other in (*definition.versions, *definition.drafts):
        assert isinstance(convert(raw, f"{definition.group}/{other}"), dict)


@pytest.mark.parametrize("definition", DECODED, ids=ids)
def test_v1_a_version_that_is_not_served_is_not_read(definition: Definition) -> None:
    oldest, newest = definition.versions[0], (*definition.versions, *definition.drafts)[-1]
    for version in (f"v1alpha{int(newest[-1]) + 1}", "v1alpha0", "v1"):
        raw = {"apiVersion": f"{definition.group}/{version}", "kind": definition.kind, "metadata": {"name": "a"}}
        assert [problem.field for problem in read(raw).problems] == ["apiVersion"]
    assert oldest <= newest


@pytest.mark.parametrize("definition", DECODED, ids=ids)
def test_v1_the_newest_version_alone_is_stored(definition: Definition) -> None:
    stored = [item["name"] for item in document(definition)["spec"]["versions"] if item["storage"]]
    assert stored == [max(definition.versions)]


@pytest.mark.parametrize("definition", DECODED, ids=ids)
def test_v1_drafts_alone_wait_until_they_are_asked_for(definition: Definition) -> None:
    waiting = {item["name"] for item in document(definition)["spec"]["versions"] if not item["served"]}
    assert waiting == set(definition.drafts)


def test_v9_short_names() -> None:
    assert {definition.kind: definition.short for definition in DECODED} == {
        "TrafficTarget": "tt", "HTTPRouteGroup": "htr", "TCPRoute": "tr", "UDPRoute": "ur", "TrafficSplit": "ts",
        "EgressPolicy": "egp",
    }  # fmt: skip


def test_v9_kubectl_shows_the_service_of_a_split() -> None:
    split = next(definition for definition in DECODED if definition.kind == "TrafficSplit")
    for version in document(split)["spec"]["versions"]:
        columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
        assert columns == {"Service": ".spec.service", "Age": ".metadata.creationTimestamp"}


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for step in ("items", "additionalProperties"):
        if step in node:
            yield from nodes(node[step], f"{path}[]")


@pytest.mark.parametrize(("definition", "version"), EACH, ids=ids)
def test_v9_schemas_are_structural_described_and_bounded(definition: Definition, version: str) -> None:
    for path, node in nodes(schema(definition, version)):
        assert node["description"].endswith("."), path
        free = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
        assert node.get("type") or free, path
        bound = {"string": "maxLength", "array": "maxItems", "integer": "minimum"}.get(node.get("type", ""))
        assert bound is None or bound in node, path


@pytest.mark.parametrize(("definition", "version"), EACH, ids=ids)
def test_v3_nothing_is_defaulted(definition: Definition, version: str) -> None:
    assert not [path for path, node in nodes(schema(definition, version)) if "default" in node]


@pytest.mark.parametrize(("definition", "version"), EACH, ids=ids)
def test_v9_only_headers_keep_fields_nobody_knows(definition: Definition, version: str) -> None:
    kept = {path for path, node in nodes(schema(definition, version)) if "x-kubernetes-preserve-unknown-fields" in node}
    assert {path.rpartition(".")[2] for path in kept} <= {"headers"}


@pytest.mark.parametrize("definition", [item for item in DECODED if item.kind in VERSIONS], ids=ids)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_v9_what_the_decoders_read_passes_the_schema_whole(definition: Definition, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from((*definition.versions, *definition.drafts)))
    raw = data.draw(documents(definition.kind, version))
    kept = copy.deepcopy(raw)
    structural.settle(kept, schema(definition, version))
    assert kept == raw
    assert judging.problems(kept, schema(definition, version)) == []


@pytest.mark.parametrize("definition", [item for item in DECODED if item.kind in VERSIONS], ids=ids)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_v2_what_is_converted_passes_the_schema_of_its_new_version_whole(
    definition: Definition, data: st.DataObject
) -> None:
    """Else the API server would prune what the conversion kept."""
    old, new = data.draw(st.permutations((*definition.versions, *definition.drafts)))[:2]
    made = convert(data.draw(documents(definition.kind, old)), f"{definition.group}/{new}")
    assert isinstance(made, dict)
    kept = copy.deepcopy(made)
    structural.settle(kept, schema(definition, new))
    assert kept == made
    assert judging.problems(kept, schema(definition, new)) == []
