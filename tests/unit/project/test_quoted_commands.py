"""The commands that documents show can be typed: commands and options exist, values are taken, files are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from controlplane.cli.main import command_line

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
SHOWN = re.compile(r"^    (?:\$ )?((?:weft|kubectl) .*)$", re.MULTILINE)
ENDS = re.compile(r"\s+#.*$|\s*\\$|\s&$|\s[>|]\s.*$")
PLACE = re.compile(r"examples/\S+")


def quoted(program: str) -> Iterator[tuple[str, str]]:
    """Pages and what they show of this program, comments and what happens to its output left out."""
    for page in PAGES:
        for line in SHOWN.findall(page.read_text()):
            command = ENDS.sub("", line)
            if command.startswith(f"{program} "):
                yield str(page.relative_to(ROOT)), command


COMMANDS = sorted(set(quoted("weft")))


@pytest.fixture(scope="module")
def weft() -> Any:
    return typer.main.get_command(command_line())


def parse(command: Any, words: list[str], parent: Any = None) -> str:
    """The command that these words call, without calling it. Raises Click's UsageError, whosever Click typer has."""
    context = command.make_context(command.name or "weft", words, parent)
    if not isinstance(command, TyperGroup):
        return str(context.command_path)
    _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return parse(found, rest, context)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_that_is_shown_is_understood(
    weft: Any, page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "shop").mkdir()  # the reader's manifests
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    assert parse(weft, words).split()[:2] == ["weft", words[0]], page


@pytest.mark.parametrize(
    "words", [["tap"], ["tap", "web", "--paht", "/"], ["stat", "-o", "yaml"], ["ca", "turn"], ["tip"]]
)
def test_what_is_not_understood_would_be_found(weft: Any, words: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)missing|no such|invalid|not one of"):
        parse(weft, words)


def test_the_path_of_a_new_user_is_shown_whole() -> None:
    shown = {command.split()[1] for page, command in COMMANDS if page == "docs/first-hour.md"}
    assert {"proxies", "stat", "edges", "tap", "authz", "top", "exec"} <= shown


@pytest.mark.parametrize(("page", "command"), [*COMMANDS, *sorted(set(quoted("kubectl")))])
def test_examples_that_are_named_are_there(page: str, command: str) -> None:
    assert [place for place in PLACE.findall(command) if not (ROOT / place).exists()] == [], page
