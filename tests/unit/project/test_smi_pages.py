"""The examples of the pages about SMI are what they say: in that version, read without a mistake, taken by the CRDs."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.objects import RawDocument
from mesh.alone import judge
from mesh.settings import MeshSettings
from smi.convert import convert
from smi.decode import read
from smi.definitions import DEFINITIONS, document
from tests.fakes import schema as judging
from tests.fakes import structural

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted(DOCS.glob("smi*.md"))
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {(item.group, item.kind): item for item in DEFINITIONS if item.group.endswith(".smi-spec.io")}
SERVED = {(kind, version) for (_, kind), item in KINDS.items() for version in (*item.versions, *item.drafts)}


def examples(page: Path) -> list[RawDocument]:
    blocks = BLOCK.findall(page.read_text())
    return [item for block in blocks for item in yaml.safe_load_all(block) if item["apiVersion"].count("smi-spec.io")]


EXAMPLES = [(page.name, index, raw) for page in PAGES for index, raw in enumerate(examples(page))]


@pytest.mark.parametrize(("page", "index", "raw"), EXAMPLES)
def test_an_example_is_read_without_a_mistake(page: str, index: int, raw: RawDocument) -> None:
    found = read(raw)
    assert found.object is not None, (page, index)
    settings = MeshSettings(identity_bindings=True)
    problems = [*found.problems, *judge(found.object, settings).mistakes]
    assert {problem.rule for problem in problems} <= ({"A4"} if raw["kind"] == "UDPRoute" else set())


@pytest.mark.parametrize(("page", "index", "raw"), EXAMPLES)
def test_an_example_passes_the_schema_of_its_version_whole(page: str, index: int, raw: RawDocument) -> None:
    group, _, version = raw["apiVersion"].partition("/")
    versions = document(KINDS[group, raw["kind"]])["spec"]["versions"]
    schema = next(item["schema"]["openAPIV3Schema"] for item in versions if item["name"] == version)
    kept: Any = copy.deepcopy(raw)
    structural.settle(kept, schema)
    assert kept == raw, (page, index)
    assert judging.problems(kept, schema) == []


@pytest.mark.parametrize(("page", "index", "raw"), EXAMPLES)
def test_an_example_has_a_form_in_every_version_of_its_kind(page: str, index: int, raw: RawDocument) -> None:
    group = raw["apiVersion"].partition("/")[0]
    definition = KINDS[group, raw["kind"]]
    for version in (*definition.versions, *definition.drafts):
        made = convert(raw, f"{group}/{version}")
        assert isinstance(made, dict), (page, index, made)


def test_every_version_of_every_kind_has_an_example_and_stands_in_the_table() -> None:
    page = DOCS / "smi-versions.md"
    assert {(raw["kind"], raw["apiVersion"].partition("/")[2]) for raw in examples(page)} == SERVED
    rows = {line.split("|")[1].split()[0]: line for line in page.read_text().splitlines() if line.startswith("| ")}
    for kind, version in SERVED:
        assert version in rows[kind]
    for definition in KINDS.values():
        assert f"(`{definition.short}`)" in rows[definition.kind]
        assert rows[definition.kind].split("|")[3].strip() == definition.stored
