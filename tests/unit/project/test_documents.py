"""The documents hold together: links lead somewhere, commands and rules that are quoted exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from controlplane.cli.main import COMMANDS
from controlplane.demo.run import PROOFS

ROOT = Path(__file__).parents[3]
FOLDERS = ("changelog.d", "deploy", "docs", "examples")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
RULE = re.compile(r"\b([TAFH]\d{1,2})\b")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    broken = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert broken == []


def test_every_page_of_docs_can_be_reached_from_its_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [page.parent / link for link in LINK.findall(page.read_text())]
    assert {page for page in DOCUMENTS if (ROOT / "docs") in page.parents} <= seen


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_every_command_is_explained(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [command for command in COMMANDS if f"weft {command}" not in text] == []


def test_every_rule_that_is_quoted_is_written_down() -> None:
    written = set(re.findall(r"^- \*\*([A-Z]\d+)\*\*", (ROOT / "docs" / "smi.md").read_text(), re.MULTILINE))
    quoted = {rule for document in DOCUMENTS for rule in RULE.findall(document.read_text())}
    assert quoted <= written
    assert {f"T{number}" for number in range(1, 14)} | {f"F{number}" for number in range(1, 7)} <= written


def test_numbers_of_claims_agree() -> None:
    assert list(PROOFS) == list("abcdefg")
    assert all("seven" in (ROOT / page).read_text() for page in ("README.md", "docs/cli.md"))


def test_manifests_are_kubernetes_objects_with_a_place_of_their_own() -> None:
    files = sorted((ROOT / "examples/shop").rglob("*.yaml"))
    objects = [item for file in files for item in yaml.safe_load_all(file.read_text())]
    named = {(item["kind"], item["metadata"]["name"]) for item in objects}
    assert len(named) == len(objects)
    assert all(item["metadata"].get("namespace", "shop") == "shop" for item in objects)
    accounts = {name for kind, name in named if kind == "ServiceAccount"}
    used = {item["spec"]["template"]["spec"]["serviceAccountName"] for item in objects if item["kind"] == "Deployment"}
    assert used == accounts
