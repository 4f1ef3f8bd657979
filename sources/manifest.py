"""One file of manifests: every object in it with the line it begins on, and what is wrong with the rest.

Rule: a pure function of the file's bytes. A document that can't be read takes no other with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from kube.decode import CLUSTER_SCOPED, Locate
from kube.objects import RawDocument
from kube.problem import Origin, Problem, Ref
from smi.decode import Read, read
from smi.resources import Anything
from sources.nodes import Node, Outline, Outlines
from sources.yaml_documents import Chunk, Fault, chunks, read_chunk

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest file that is read. The API server takes objects up to 3 MiB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file, readable or not."""

    read: Read
    origin: Origin
    locate: Locate = field(compare=False)


@dataclass(frozen=True, slots=True)
class Whole:
    """All that a file says, looked at alone. `again`: it names an object twice, so that this can't be relied upon."""

    objects: Mapping[Ref, Anything]
    invalid: frozenset[Ref]
    problems: tuple[Problem, ...]
    again: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file says. `problems` are about documents that are no objects; `broken`: there are such documents.

    `blank`: the file holds no byte that means anything, as while it is being written.
    """

    items: tuple[Item, ...] = ()
    problems: tuple[Problem, ...] = ()
    broken: bool = False
    blank: bool = False
    sections: Mapping[Chunk, tuple[Item | Problem, ...]] = field(default_factory=dict)
    """What each chunk of the file came to, so that only those that change are read again."""
    whole: Whole = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole", _whole(self))

    @property
    def refs(self) -> frozenset[Ref]:
        """The objects the file names."""
        return frozenset(item.read.ref for item in self.items if item.read.ref)

    def place(self, ref: Ref, path: str) -> Origin | None:
        """Where a field of an object stands, None if the object is not in this file."""
        return next((item.locate(path) for item in self.items if item.read.ref == ref), None)


def _whole(manifest: Manifest) -> Whole:
    named = [item.read for item in manifest.items if item.read.ref and item.read.ref.name]
    objects = {read.ref: read.object for read in named if read.ref}
    return Whole(
        objects={ref: found for ref, found in objects.items() if found is not None},
        invalid=frozenset(ref for ref, found in objects.items() if found is None),
        problems=(*manifest.problems, *(problem for item in manifest.items for problem in item.read.problems)),
        again=len(objects) < len(named),
    )


def file_problem(file: str, message: str, line: int | None = None) -> Problem:
    """A Problem with a file instead of an object; `line` counts from 0."""
    origin = Origin(file, 1 if line is None else line + 1)
    return Problem(Ref("File", "", file), "", message, "decode", origin=origin)


def read_manifest(file: str, content: bytes, last: Manifest | None = None) -> Manifest:
    """Read a file written by a person. `file` is its name in Problems, `last` what it said before, if known."""
    if len(content) > MAX_BYTES:
        problem = file_problem(file, f"The file is larger than {MAX_BYTES >> 20} MiB; it is left out.")
        return Manifest(problems=(problem,), broken=True)
    known = last.sections if last else {}
    outlines = Outlines()
    sections = {
        chunk: known[chunk] if chunk in known else tuple(_section(file, chunk, outlines)) for chunk in chunks(content)
    }
    found = [entry for section in sections.values() for entry in section]
    items = tuple(entry for entry in found if isinstance(entry, Item))
    problems = tuple(entry for entry in found if isinstance(entry, Problem))
    return Manifest(items, problems, broken=bool(problems), blank=not content.strip(), sections=sections)


def read_own(file: str, content: bytes) -> Manifest:
    """Read a file of one JSON object that a program wrote: the fast way, without lines."""
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return read_manifest(file, content)
    if not isinstance(raw, dict):
        return read_manifest(file, content)
    origin = Origin(file, 1)

    def locate(_field: str) -> Origin:
        return origin

    return Manifest((Item(read(_with_namespace(raw), locate), origin, locate),))


def _section(file: str, chunk: Chunk, outlines: Outlines) -> Iterator[Item | Problem]:
    """What a chunk comes to."""
    for document in read_chunk(chunk):
        for found in [document] if isinstance(document, Fault) else _objects(document):
            if isinstance(found, Fault):
                message = f"The document {found.message}; it is left out, the others stand."
                yield file_problem(file, message, found.line)
            else:
                yield _item(file, *found, outlines)


def _objects(node: Node, listed: RawDocument | None = None) -> Iterator[tuple[Node, RawDocument] | Fault]:
    """The objects of a document: itself, or the items of a List. `listed` is what a typed list says of its items."""
    if not isinstance(node.value, dict):
        yield Fault(node.line, "is no object, which would be a map with apiVersion and kind")
        return
    kind, items = _scalar(node, "kind"), node.value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and items and isinstance(items[1].value, list):
        typed = {"apiVersion": _scalar(node, "apiVersion"), "kind": kind.removesuffix("List")}
        for item in items[1].value:
            yield from _objects(item, {} if kind == "List" else typed)
    else:
        yield node, {**(listed or {}), **node.plain()}


def _item(file: str, node: Node, raw: RawDocument, outlines: Outlines) -> Item:
    locate = partial(_origin, file, node.line, outlines.of(node))
    return Item(read(_with_namespace(raw), locate), locate(""), locate)


def _origin(file: str, line: int, outline: Outline | None, path: str) -> Origin:
    return Origin(file, line + (outline.line_of(path) if outline else 0) + 1)


def _scalar(node: Node, key: str) -> Any:
    """A scalar of a map, None where there is none."""
    _, item = node.value.get(key, (0, None))
    return None if item is None or isinstance(item.value, dict | list) else item.value


def _with_namespace(raw: RawDocument) -> RawDocument:
    """A namespaced object that names no namespace is in `default`, as with kubectl."""
    kind, metadata = raw.get("kind"), raw.get("metadata")
    if not isinstance(kind, str) or kind in CLUSTER_SCOPED or not isinstance(metadata, dict):
        return raw
    if metadata.get("namespace") not in (None, ""):  # what is written there need not be hashable
        return raw
    return {**raw, "metadata": {**metadata, "namespace": "default"}}
