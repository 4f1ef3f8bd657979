"""Admission and `weft validate` say the same of the same object: it is the same code that judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.problem import Problem, Severity
from mesh.build import Builder
from mesh.settings import MeshSettings
from smi.decode import read
from smi.definitions import DEFINITIONS
from smi.resources import Resources
from webhook.validate import review

GOLDEN = Path(__file__).parents[2] / "golden"
KINDS = {definition.kind for definition in DEFINITIONS}
OF_OTHERS = frozenset({"T1", "T6", "T8", "F2", "A6", "A8", "T13"})
"""Rules whose breach may lie in what other objects are or are not."""


def smi_objects() -> list[tuple[str, dict[str, Any]]]:
    """Every SMI object of the golden cases, most of which are about mistakes."""
    found = []
    for path in sorted(GOLDEN.glob("*/input.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            items = document.get("items", [document]) if isinstance(document, dict) else []
            found += [(path.parent.name, item) for item in items if item.get("kind") in KINDS]
    return found


def alone(raw: dict[str, Any]) -> list[Problem]:
    """What `weft validate` says of a folder that holds this object only."""
    found = read(raw)
    known = {found.ref: found.object} if found.ref and found.object else {}
    mesh = Builder(MeshSettings()).build(Resources(known))
    return [*found.problems, *mesh.problems]


def refused(raw: dict[str, Any]) -> set[tuple[str, str]]:
    response = review({"request": {"uid": "1", "operation": "CREATE", "object": raw}})["response"]
    causes = response.get("status", {}).get("details", {}).get("causes", [])
    return {(cause["field"], cause["message"]) for cause in causes}


@pytest.mark.parametrize(("case", "raw"), smi_objects(), ids=lambda value: value if isinstance(value, str) else "")
def test_whatever_is_refused_weft_validate_calls_an_error(case: str, raw: dict[str, Any]) -> None:
    raw["metadata"].setdefault("namespace", "default")
    said = {(problem.field, f"{problem.message} [{problem.rule}]") for problem in alone(raw)}
    fields = {field.removeprefix("spec.").replace("rules", "specs") for field, _ in said} | {field for field, _ in said}
    for field, message in refused(raw):
        assert field in fields
        assert message in {text for _, text in said}


@pytest.mark.parametrize(("case", "raw"), smi_objects(), ids=lambda value: value if isinstance(value, str) else "")
def test_whatever_weft_validate_calls_an_error_of_the_object_itself_is_refused(case: str, raw: dict[str, Any]) -> None:
    raw["metadata"].setdefault("namespace", "default")
    own = {
        f"{problem.message} [{problem.rule}]"
        for problem in alone(raw)
        if problem.severity is Severity.ERROR and problem.rule not in OF_OTHERS | {"F4", "A7"}
    }
    assert own <= {message for _, message in refused(raw)}


def test_there_are_objects_of_both_sorts() -> None:
    wrong = [
        raw for _, raw in smi_objects() if refused({**raw, "metadata": {"namespace": "default", **raw["metadata"]}})
    ]
    assert 5 < len(wrong) < len(smi_objects()) - 5
