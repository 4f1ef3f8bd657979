"""Every rule of docs/smi.md that is in scope has a test or a golden case that carries its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
IN_SCOPE: Final = (
    *(f"t{number}" for number in range(1, 14)),
    *(f"a{number}" for number in (*range(1, 15), 16)),
    *(f"f{number}" for number in range(1, 7)),
    *(f"h{number}" for number in range(1, 6)),
    *(f"v{number}" for number in range(1, 10)),
)
NUMBERS: Final = re.compile(r"(?:[tafhv]\d+_)+")
"""The rules at the head of a name: `test_t6_…`, `a07_f01_…`."""


def rules_of(name: str) -> set[str]:
    """The rules whose numbers a test's or a case's name begins with, without leading zeros."""
    head = NUMBERS.match(f"{name.removeprefix('test_')}_")
    return {f"{word[0]}{int(word[1:])}" for word in head[0].split("_") if word} if head else set()


def carried() -> set[str]:
    """Every rule that some test function or golden case carries."""
    names = [path.parent.name for path in TESTS.glob("golden/*/want.yaml")]
    for path in TESTS.rglob("test_*.py"):
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        names += [node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, functions)]
    return {rule for name in names if name[:5] == "test_" or name[1:2].isdigit() for rule in rules_of(name)}


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("test_t6_missing_backend_is_left_out", {"t6"}),
        ("a07_f01_no_rules", {"a7", "f1"}),
        ("test_the_answer_a1_is_not_at_the_head", set()),
        ("test_a1", {"a1"}),
    ],
)
def test_a_rule_is_carried_at_the_head_of_a_name(name: str, rules: set[str]) -> None:
    assert rules_of(name) == rules


@pytest.fixture(scope="module")
def known() -> set[str]:
    return carried()


@pytest.mark.parametrize("rule", IN_SCOPE)
def test_a_rule_in_scope_has_a_test_that_carries_its_number(rule: str, known: set[str]) -> None:
    assert rule in known
