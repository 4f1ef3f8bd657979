"""One file of manifests: every object in it with the line it begins on, and what is wrong with the rest.

Rule: a pure function of the file's bytes. A document that can't be read takes no other with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from kube.decode import CLUSTER_SCOPED
from kube.objects import RawDocument
from kube.problem import Origin, Problem, Ref
from smi.decode import Read, read
from sources.nodes import Node
from sources.yaml_documents import Fault, documents

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest file that is read. The API server takes objects up to 3 MiB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file, readable or not."""

    read: Read
    origin: Origin


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file says. `problems` are about documents that are no objects; `broken`: there are such documents.

    `blank`: the file holds no byte that means anything, as while it is being written.
    """

    items: tuple[Item, ...] = ()
    problems: tuple[Problem, ...] = ()
    broken: bool = False
    blank: bool = False

    @property
    def refs(self) -> frozenset[Ref]:
        """The objects the file names."""
        return frozenset(item.read.ref for item in self.items if item.read.ref)


def file_problem(file: str, message: str, line: int | None = None) -> Problem:
    """A Problem with a file instead of an object; `line` counts from 0."""
    origin = Origin(file, 1 if line is None else line + 1)
    return Problem(Ref("File", "", file), "", message, "decode", origin=origin)


def read_manifest(file: str, content: bytes) -> Manifest:
    """Read a file written by a person. `file` is its name in Problems."""
    if len(content) > MAX_BYTES:
        problem = file_problem(file, f"The file is larger than {MAX_BYTES >> 20} MiB; it is left out.")
        return Manifest(problems=(problem,), broken=True)
    items: list[Item] = []
    problems: list[Problem] = []
    for document in documents(content):
        for found in [document] if isinstance(document, Fault) else _objects(document):
            if isinstance(found, Fault):
                message = f"The document {found.message}; it is left out, the others stand."
                problems.append(file_problem(file, message, found.line))
            else:
                items.append(_item(file, *found))
    return Manifest(tuple(items), tuple(problems), broken=bool(problems), blank=not content.strip())


def read_own(file: str, content: bytes) -> Manifest:
    """Read a file of one JSON object that a program wrote: the fast way, without lines."""
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return read_manifest(file, content)
    if not isinstance(raw, dict):
        return read_manifest(file, content)
    origin = Origin(file, 1)
    return Manifest((Item(read(_with_namespace(raw), lambda _: origin), origin),))


def _objects(node: Node, listed: RawDocument | None = None) -> Iterator[tuple[Node, RawDocument] | Fault]:
    """The objects of a document: itself, or the items of a List. `listed` is what a typed list says of its items."""
    if not isinstance(node.value, dict):
        yield Fault(node.line, "is no object, which would be a map with apiVersion and kind")
        return
    raw = {**(listed or {}), **node.plain()} if listed or "items" not in node.value else _shallow(node)
    kind = raw.get("kind")
    items = node.value["items"][1] if "items" in node.value else None
    if not (isinstance(kind, str) and kind.endswith("List") and items and isinstance(items.value, list)):
        yield node, node.plain() if listed is None else raw
        return
    of_items = {} if kind == "List" else {"apiVersion": raw.get("apiVersion"), "kind": kind.removesuffix("List")}
    for item in items.value:
        yield from _objects(item, of_items)


def _item(file: str, node: Node, raw: RawDocument) -> Item:
    locate = partial(_origin, file, node)
    return Item(read(_with_namespace(raw), locate), locate(""))


def _origin(file: str, node: Node, path: str) -> Origin:
    return Origin(file, node.line_of(path) + 1)


def _shallow(node: Node) -> dict[str, Any]:
    """The scalars of a map."""
    return {key: item.value for key, (_, item) in node.value.items() if not isinstance(item.value, dict | list)}


def _with_namespace(raw: RawDocument) -> RawDocument:
    """A namespaced object that names no namespace is in `default`, as with kubectl."""
    kind, metadata = raw.get("kind"), raw.get("metadata")
    if not isinstance(kind, str) or kind in CLUSTER_SCOPED or not isinstance(metadata, dict):
        return raw
    if metadata.get("namespace") not in (None, ""):  # what is written there need not be hashable
        return raw
    return {**raw, "metadata": {**metadata, "namespace": "default"}}
