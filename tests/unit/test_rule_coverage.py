"""Every rule of docs/smi.md is shown end to end, or by a golden case, in a test that carries its number.

Rule: unit tests don't count. What is about versions (V) may be shown by an API server instead, where versions live.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
PAGE: Final = TESTS.parent / "docs" / "smi.md"
SHOWN_BY: Final = {"v": ("e2e", "golden", "kubernetes")}
"""The tiers that show a rule, by its letter; `e2e` and `golden` for all others."""
NUMBERS: Final = re.compile(r"(?:[tafhv]\d+_)+")
"""The rules at the head of a name: `test_t6_…`, `a07_f01_…`."""


def rules_of(name: str) -> set[str]:
    """The rules whose numbers a test's or a case's name begins with, without leading zeros."""
    head = NUMBERS.match(f"{name.removeprefix('test_')}_")
    return {f"{word[0]}{int(word[1:])}" for word in head[0].split("_") if word} if head else set()


def stated() -> list[str]:
    """Every rule that the page states: `- **T6** …` or `| **T6** |`."""
    return [word.lower() for word in re.findall(r"^[-|] \*\*([TAFHV]\d+)\*\*", PAGE.read_text(), re.MULTILINE)]


@cache
def carried(*tiers: str) -> set[str]:
    """Every rule that some test function, or golden case, of these tiers carries."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    names = [path.parent.name for path in TESTS.glob("golden/*/want.yaml") if "golden" in tiers]
    for tier in tiers:
        for path in (TESTS / tier).rglob("test_*.py"):
            tests = [node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, functions)]
            names += [name for name in tests if name.startswith("test_")]
    return {rule for name in names for rule in rules_of(name)}


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


def test_the_page_states_all_rules_in_their_order() -> None:
    rules = stated()
    assert len(set(rules)) == len(rules)
    for letter, most in {"t": 13, "a": 16, "f": 6, "h": 6, "v": 9}.items():
        assert [rule for rule in rules if rule[0] == letter] == [f"{letter}{number}" for number in range(1, most + 1)]


@pytest.mark.parametrize("rule", stated())
def test_a_rule_is_shown_by_a_test_that_carries_its_number(rule: str) -> None:
    tiers = SHOWN_BY.get(rule[0], ("e2e", "golden"))
    assert rule in carried(*tiers)


def test_a_unit_test_alone_shows_no_rule() -> None:
    assert "f1" in carried("unit")
    assert carried("unit") != carried("e2e", "golden")
