"""Manifests as raw documents: what a Deployment's pods are made from has to keep every field.

Rule: a file that cannot be read keeps the documents it had, so a half-written file never stops a pod. Mistakes in it
are reported by `sources.folder`, which reads the same files; they are not reported twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kube.objects import RawDocument, Service
from kube.problem import Ref
from local.podspec import without_nulls

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Document:
    """One object as its file says it, with `metadata.namespace` filled in; `folder` is the file's."""

    raw: RawDocument
    folder: Path

    @property
    def kind(self) -> str:
        """The kind."""
        return str(self.raw["kind"])

    @property
    def namespace(self) -> str:
        """The namespace."""
        return str(self.raw["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The name."""
        return str(self.raw["metadata"]["name"])

    @property
    def ref(self) -> Ref:
        """How Problems name this object."""
        return Ref(self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Manifests:
    """All documents of all files at one moment."""

    files: Mapping[Path, tuple[Document, ...]] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Document]:
        """The documents of these kinds by namespace and name; where one is written twice, the last file's."""
        found = {
            (document.kind, document.namespace, document.name): document
            for file in sorted(self.files)
            for document in self.files[file]
            if document.kind in kinds
        }
        return [found[key] for key in sorted(found)]

    def services(self) -> list[Service]:
        """The Services that can be read; the others are Problems of the source."""
        return list(_services(self.of("Service")))

    def namespace_labels(self) -> dict[str, dict[str, str]]:
        """The labels of each Namespace that is written down."""
        return {document.name: _strings(document.raw["metadata"].get("labels")) for document in self.of("Namespace")}

    def values(self, kind: str) -> dict[tuple[str, str], RawDocument]:
        """ConfigMaps or Secrets by namespace and name."""
        return {(document.namespace, document.name): document.raw for document in self.of(kind)}


def read(paths: Sequence[Path], last: Manifests) -> Manifests:
    """Read files and folders; `last` is what was read before."""
    files: dict[Path, tuple[Document, ...]] = {}
    for file in manifest_files(paths):
        try:
            files[file] = tuple(_documents(file))
        except (OSError, UnicodeError, yaml.YAMLError, RecursionError):
            files[file] = last.files.get(file, ())
    return Manifests(files)


def manifest_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Every manifest file in these paths, folders with all that is below them; hidden ones are left out."""
    for path in paths:
        if path.is_dir():
            for below in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
                if below.suffix in SUFFIXES and below.is_file() and not hidden:
                    yield below
        elif path.exists():
            yield path


def _documents(file: Path) -> Iterator[Document]:
    for value in yaml.load_all(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
        for raw in _unlisted(value):
            metadata = raw.get("metadata")
            if isinstance(raw.get("kind"), str) and isinstance(metadata, dict) and metadata.get("name"):
                filled = {**metadata, "namespace": metadata.get("namespace") or "default"}
                yield Document(without_nulls({**raw, "metadata": filled}), file.parent.absolute())


def _unlisted(value: Any) -> Iterator[RawDocument]:
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        yield from (item for item in value["items"] if isinstance(item, dict))
    elif isinstance(value, dict):
        yield value


def _services(documents: list[Document]) -> Iterator[Service]:
    for document in documents:
        try:
            yield msgspec.convert(document.raw, Service)
        except msgspec.ValidationError:
            continue


def _strings(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}
