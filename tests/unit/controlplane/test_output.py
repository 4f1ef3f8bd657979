"""What others wrote reaches a terminal as letters: names, refusals, labels that a sidecar claims."""

from __future__ import annotations

import pytest
from rich.console import Console
from typer import Exit

from controlplane.check import Line
from controlplane.cli.check import _show
from controlplane.cli.describing import _cells, _indented
from controlplane.cli.output import fail, say, show_problem, show_table
from controlplane.cli.traffic_tables import Column, table_of
from kube.problem import Problem, Ref

OBEYED = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e\u009b31m"
"""Writes to the clipboard, clears the screen, turns the direction of text, changes a colour."""
CONTROLS = set(OBEYED) - set("]52;c;ZXZpbA==[2J31m")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    both = capsys.readouterr()
    return both.out + both.err


def test_words_of_others_do_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"shop/web-1 rejected clusters: {OBEYED}")
    show_table(["NAME"], [[OBEYED]])
    show_problem(Problem(Ref("TrafficSplit", "shop", OBEYED), f"spec[{OBEYED}]", f"{OBEYED} is no weight", "T2"))
    _show(Line(ok=False, sentence=OBEYED, hint=OBEYED))
    Console().print(table_of([Column("NAME", lambda row: str(row["name"]))], [{"name": OBEYED, "success_rate": 1.0}]))
    Console().print(_indented(OBEYED), *_cells(OBEYED))
    with pytest.raises(Exit):
        fail(OBEYED)
    text = shown(capsys)
    assert text.count("]52;c;ZXZpbA==") == 11
    assert not CONTROLS & set(text)


def test_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo")
    assert shown(capsys) == "one\ntwo\n"
