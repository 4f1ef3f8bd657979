"""The tables of labels and annotations have every name of ours that the code knows, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("kube", "smi", "sources", "mesh", "xds", "ca", "proxy", "webhook", "local", "controlplane")
NAME = re.compile(r"weft\.dev/[a-z][a-z-]*")
PAGES = ("docs/smi.md", "docs/injection.md")
FIRST_CELL = re.compile(r"^\| (`weft\.dev/[^|]*?) \|", re.MULTILINE)


def names_in_code() -> Iterator[str]:
    """Every text that is such a name and nothing besides."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if "_pb" not in file.parts:
                for node in ast.walk(ast.parse(file.read_text())):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                        yield node.value


def names_in(page: str) -> set[str]:
    return {name for cell in FIRST_CELL.findall((ROOT / page).read_text()) for name in NAME.findall(cell)}


def test_every_name_has_its_line_in_a_table_and_no_line_is_without_one() -> None:
    written = set().union(*map(names_in, PAGES)) | {"weft.dev/inject"}  # which has a sentence of its own
    assert written == set(names_in_code())


def test_what_smi_rules_speak_of_is_on_their_page() -> None:
    enrolment = ast.parse((ROOT / "kube" / "enrolment.py").read_text())
    names = {
        node.value for node in ast.walk(enrolment) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {name for name in names if NAME.fullmatch(name)} - {"weft.dev/inject"} <= names_in("docs/smi.md")


def test_every_folder_of_code_has_its_line_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = {
        str(folder.relative_to(ROOT))
        for package in PACKAGES
        for folder in [file.parent for file in (ROOT / package).rglob("*.py")]
        if "_pb" not in folder.parts
    }
    assert {folder for folder in folders if f"`{folder}/`" not in text} == set()
