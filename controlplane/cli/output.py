"""How commands speak: tables and sentences for people, JSON for programs, errors on standard error.

Rule: what others wrote (names, words of a refusal, what a sidecar claims) is never printed as it came, for a terminal
would obey it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controlplane.tap.wording import printable
from kube.problem import Problem, Severity


def harmless(text: str) -> str:
    """What others wrote, line by line, without what a terminal would obey."""
    return "\n".join(map(printable, text.split("\n")))


def say(text: str) -> None:
    """Print a sentence on standard output."""
    print(harmless(text))


def show_json(value: Any) -> None:
    """Print a value as indented JSON on standard output."""
    print(json.dumps(value, indent=2, sort_keys=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as kubectl would: aligned, without lines between them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    Console().print(table)


def show_problem(problem: Problem) -> None:
    """Print one Problem: where, what, why."""
    style = "red" if problem.severity is Severity.ERROR else "yellow"
    place = harmless(f"{problem.origin}: ") if problem.origin else ""
    line = Text.assemble(
        place, (f"{problem.severity}: ", style), (harmless(str(problem.object)), "bold"),
        harmless(f" {problem.field}" if problem.field else ""), harmless(f": {problem.message} "),
        (f"[{problem.rule}]", "dim"),
    )  # fmt: skip
    Console(stderr=False, soft_wrap=True).print(line)


def fail(sentence: str, code: int = 2) -> NoReturn:
    """Say in one sentence why the command can't do what it was asked, and leave with `code`."""
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "red"), harmless(sentence)))
    raise typer.Exit(code)
