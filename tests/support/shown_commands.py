"""Commands that a page shows behind `$`, with what it says they print; for tests that run them again.

Rule: what differs from run to run (numbers, times, addresses, random parts of pods' names) is no part of what is
compared.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

_CHANGES = re.compile(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\b|[0-9][0-9.:]*")


class Shown(NamedTuple):
    """The words of a command, and the lines below it, each without what changes."""

    words: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def shown(page: Path, program: str) -> list[Shown]:
    """What a page shows of a program, in its order."""
    found: list[Shown] = []
    blocks = re.split(r"^    \$ ", page.read_text(), flags=re.MULTILINE)
    for block in blocks[1:]:
        command, *below = block.splitlines()
        printed = []
        for line in below:
            if line and not line.startswith("    "):
                break
            printed.append(line)
        words = shlex.split(command)
        if words[0] == program:
            found.append(Shown(tuple(words[1:]), essence("\n".join(printed))))
    return found


def essence(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of each line that has some, without what changes."""
    return tuple(tuple(_CHANGES.sub("#", line).split()) for line in text.splitlines() if line.strip())
