"""Documents as trees that remember the line of every value, and the limits that keep hostile ones small.

Rule: a tree's cost is bounded before it is built. Aliases are counted as what they expand to, nesting has an end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kube.decode import STEP

MAX_DEPTH: Final = 100
"""Maps and lists inside one another. Kubernetes' own objects stay below 30."""

MAX_VALUES: Final = 300_000
"""Values in one document, aliases expanded. A List of 5,000 Services has about 100,000."""


class Unreadable(Exception):  # noqa: N818  # it names the document, not a failure of ours
    """A document that is no tree of plain values; never leaves this package. `line` counts from 0."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(slots=True, eq=False)
class Node:
    """A value and the line it begins on, counted from 0 in its file.

    `size` counts all values in it, `depth` the maps and lists inside one another.

    `value` is a plain scalar, a list of nodes, or a dict of key to (line of the key, node).
    """

    line: int
    value: Any
    size: int = 1
    depth: int = 0

    def plain(self) -> Any:
        """The value as Python's own lists, dicts and scalars."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, (_, item) in self.value.items()}
        return self.value

    def line_of(self, path: str) -> int:
        """The line of a field path, or of the innermost part of it that is there."""
        node, line = self, self.line
        for key, bracketed in STEP.findall(path):
            if isinstance(node.value, dict) and (key or bracketed) in node.value:
                line, node = node.value[key or bracketed]
            elif isinstance(node.value, list) and bracketed.isdecimal() and int(bracketed) < len(node.value):
                node = node.value[int(bracketed)]
                line = node.line
            else:
                break
        return line
