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


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Where the values of a tree begin, without the values: what is kept of a document once it is read.

    `keys` of a map, none of a list. `lines` and `key_lines` count from the line the tree itself begins on, so that
    objects written alike have one Outline between them. A scalar is None.
    """

    keys: tuple[str, ...] | None
    key_lines: tuple[int, ...]
    lines: tuple[int, ...]
    parts: tuple[Outline | None, ...]

    def line_of(self, path: str) -> int:
        """The line of a field path, or of the innermost part of it that is there, from the line the tree begins on."""
        outline: Outline | None = self
        begins = line = 0
        for key, bracketed in STEP.findall(path):
            place = outline.place(key, bracketed) if outline else None
            if outline is None or place is None:
                break
            line = begins + (outline.key_lines if outline.keys is not None else outline.lines)[place]
            begins, outline = begins + outline.lines[place], outline.parts[place]
        return line

    def place(self, key: str, bracketed: str) -> int | None:
        """Which part of this is meant by a step of a path."""
        if self.keys is not None:
            name = key or bracketed
            return self.keys.index(name) if name in self.keys else None
        return int(bracketed) if bracketed.isdecimal() and int(bracketed) < len(self.parts) else None


class Outlines:
    """Makes the outlines of trees; equal ones are one object."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Outline] = {}

    def of(self, node: Node) -> Outline | None:
        """The outline of a tree, None of a scalar."""
        if isinstance(node.value, dict):
            keys: tuple[str, ...] | None = tuple(node.value)
            key_lines = tuple(line - node.line for line, _ in node.value.values())
            items = [item for _, item in node.value.values()]
        elif isinstance(node.value, list):
            keys, key_lines, items = None, (), node.value
        else:
            return None
        lines, parts = tuple(item.line - node.line for item in items), tuple(map(self.of, items))
        # Parts are known by their addresses: to hash them again at every level would cost depth times size.
        same = (keys, key_lines, lines, tuple(map(id, parts)))
        return self._known.setdefault(same, Outline(keys, key_lines, lines, parts))
