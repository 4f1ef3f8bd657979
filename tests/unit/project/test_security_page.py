"""The page of security claims nothing that no test shows: each test it names exists, each "can't" names one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`((?:unit|property|fuzz|envoy|kubernetes|e2e)/[\w/]+\.py)::(\w+)`")
TESTS = sorted(set(NAMED.findall(PAGE)))


@cache
def functions(file: str) -> frozenset[str]:
    path = ROOT / "tests" / file
    nodes = ast.walk(ast.parse(path.read_text())) if path.exists() else ()
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[name for _, name in TESTS])
def test_every_test_that_the_page_of_security_names_exists(file: str, name: str) -> None:
    assert name in functions(file)


def cannots() -> list[str]:
    """Every point of a list that says what somebody can't do."""
    lists = re.findall(r"^(?:Can't|The same .* also not):\n\n((?:- .*\n(?:  .*\n)*)+)", PAGE, re.MULTILINE)
    return [point for each in lists for point in re.split(r"^- ", each, flags=re.MULTILINE) if point]


def test_whatever_somebody_can_not_do_is_shown_by_a_test() -> None:
    assert len(cannots()) > 30
    assert [point for point in cannots() if not NAMED.search(point)] == []
