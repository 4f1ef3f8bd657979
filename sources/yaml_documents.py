"""Reads the documents of a YAML or JSON file, each on its own.

Rule: a document that can't be read is a Fault and its neighbours stand. The file is cut at its `---` lines before YAML
is read, and a tree is built from the parser's events, never by recursion: the text decides neither stack nor memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml._yaml import CParser

from sources.nodes import MAX_DEPTH, MAX_VALUES, Node, Unreadable
from sources.scalars import plain_scalar, tagged_scalar

_MARKER: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_EMPTY: Final = re.compile(rb"(?:[ \t]*(?:[#%][^\n]*)?\r?(?:\n|\Z))*")
"""Nothing but blank lines, comments and directives."""

_MERGE: Final = "<<"
_BOM: Final = b"\xef\xbb\xbf"
_SURROGATES: Final = re.compile(r"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""A JSON escape of a character beyond the first 65,536, which YAML does not know; an escaped backslash is none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A document that can't be read. `line` counts from 0; `message` is the rest of a sentence."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What stands between two `---` lines of a file, and the line it begins on, counted from 0."""

    line: int
    content: bytes


def documents(content: bytes) -> Iterator[Node | Fault]:
    """Every document of a file that holds anything."""
    for chunk in chunks(content):
        yield from read_chunk(chunk)


def chunks(content: bytes) -> Iterator[Chunk]:
    """The chunks of a file that hold anything."""
    content = content.removeprefix(_BOM)
    starts = [0, *(found.start() for found in _MARKER.finditer(content) if found.start())]
    line = 0
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        chunk = content[start:end]
        if not _EMPTY.fullmatch(chunk):
            yield Chunk(line, chunk)
        line += chunk.count(b"\n")


def read_chunk(chunk: Chunk) -> Iterator[Node | Fault]:
    """The document of a chunk; rarely more, or none."""
    line, content = chunk.line, chunk.content
    try:
        text = content.decode()
        if text.lstrip().startswith("{"):
            text = _SURROGATES.sub(_character, text)
        yield from _composed(text, line)
    except UnicodeDecodeError as error:
        yield Fault(line + content.count(b"\n", 0, error.start), "is not UTF-8")
    except Unreadable as error:
        yield Fault(error.line, error.message)
    except yaml.reader.ReaderError as error:
        yield Fault(line + content.count(b"\n", 0, error.position), f"is no YAML: {error.reason}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield Fault(line + (mark.line if mark else 0), f"is no YAML: {error.problem or error.context}")


def _character(found: re.Match[str]) -> str:
    if not found[1]:
        return found[0]
    return (int(found[1], 16).to_bytes(2, "big") + int(found[2], 16).to_bytes(2, "big")).decode("utf-16-be")


def _composed(text: str, line: int) -> Iterator[Node]:
    """The documents of a chunk: usually one, more after a `...` line."""
    parser = CParser(text)
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                node = _Composer(parser, line).compose()
                if node.value is not None:
                    yield node
    finally:
        parser.dispose()


@dataclass(slots=True)
class _Open:
    """A map or list whose end has not come yet. `key` waits for its value."""

    node: Node
    anchor: str | None
    key: tuple[str, int] | None = None
    merges: list[Node] = field(default_factory=list)


class _Composer:
    """Builds one document's tree from the parser's events."""

    def __init__(self, parser: CParser, line: int) -> None:
        self._parser, self._line = parser, line
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._values = 0

    def compose(self) -> Node:
        """The tree. Raises Unreadable."""
        while True:
            event = self._parser.get_event()
            node = self._next(event) if event else None
            if node is None:
                continue
            if not self._open:
                return node
            self._add(self._open[-1], node)

    def _next(self, event: yaml.Event) -> Node | None:
        """The node an event completes, if any."""
        line = self._line + (event.start_mark.line if event.start_mark else 0)
        if isinstance(event, yaml.ScalarEvent):
            return self._counted(self._anchored(event.anchor, Node(line, self._scalar(event, line))))
        if isinstance(event, yaml.AliasEvent):
            return self._counted(self._alias(event.anchor or "", line))
        if isinstance(event, yaml.CollectionEndEvent):
            return self._closed(self._open.pop())
        if isinstance(event, yaml.CollectionStartEvent):
            self._check_depth(1, line)
            self._check_tag(event, line)
            value: list[Node] | dict[str, object] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            self._anchors.pop(event.anchor or "", None)  # inside itself, the anchor means nothing yet
            self._open.append(_Open(self._counted(Node(line, value)), event.anchor))
        return None

    def _counted(self, node: Node) -> Node:
        self._values += node.size
        if self._values > MAX_VALUES:
            raise Unreadable(f"holds more than {MAX_VALUES} values", node.line)
        return node

    def _anchored(self, anchor: str | None, node: Node) -> Node:
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise Unreadable(f"refers to &{anchor}, which is not there or not complete", line)
        self._check_depth(node.depth, line)
        return Node(line, node.value, node.size, node.depth)

    def _check_depth(self, more: int, line: int) -> None:
        if len(self._open) + more > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels", line)

    def _closed(self, done: _Open) -> Node:
        node = done.node
        for merged in done.merges:
            self._merge(node, merged)
        items = node.value if isinstance(node.value, list) else [item for _, item in node.value.values()]
        node.size = 1 + sum(item.size for item in items)
        node.depth = 1 + max((item.depth for item in items), default=0)
        return self._anchored(done.anchor, node)

    def _merge(self, node: Node, merged: Node) -> None:
        """Take over what a merged map says and this one does not."""
        for source in merged.value if isinstance(merged.value, list) else [merged]:
            if not isinstance(source.value, dict):
                raise Unreadable("merges (<<) what is no map", merged.line)
            for key, (_, item) in source.value.items():
                if key not in node.value:
                    node.value[key] = (merged.line, self._counted(item))

    def _add(self, holder: _Open, node: Node) -> None:
        if isinstance(holder.node.value, list):
            holder.node.value.append(node)
        elif holder.key is None:
            holder.key = (self._key(node), node.line)
        elif holder.key[0] == _MERGE:
            holder.merges.append(node)
            holder.key = None
        else:
            key, line = holder.key
            if key in holder.node.value:
                raise Unreadable(f"says {key[:80]!r} twice in the same map", line)
            holder.node.value[key] = (line, node)
            holder.key = None

    def _key(self, node: Node) -> str:
        """A key as text: JSON knows no other."""
        if isinstance(node.value, bool):
            return str(node.value).lower()
        if isinstance(node.value, str | int | float):
            return str(node.value)
        raise Unreadable("has a key that is no text", node.line)

    @staticmethod
    def _scalar(event: yaml.ScalarEvent, line: int) -> object:
        try:
            if event.tag is not None:
                return tagged_scalar(event.tag, event.value)
            return plain_scalar(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            raise Unreadable(f"cannot be read: {error}", line) from None

    @staticmethod
    def _check_tag(event: yaml.CollectionStartEvent, line: int) -> None:
        if event.tag not in {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}:
            raise Unreadable(f"cannot be read: tag {event.tag[:80]!r} is not supported", line)
