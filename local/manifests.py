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

from kube.names import is_label, is_subdomain
from kube.objects import RawDocument, Service
from kube.problem import Ref
from local.podspec import without_nulls
from sources.files import Signature, manifest_files, signature
from sources.manifest import MAX_BYTES
from sources.nodes import Node
from sources.yaml_documents import Fault, documents


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
    """All documents of all files at one moment. A file whose signature is the same is not read again."""

    files: Mapping[Path, tuple[Document, ...]] = field(default_factory=dict)
    signatures: Mapping[Path, Signature | None] = field(default_factory=dict, compare=False)

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
    signatures = {file: signature(file) for file in manifest_files(paths)}
    for file, now in signatures.items():
        if now == last.signatures.get(file):
            files[file] = last.files[file]
            continue
        found = _documents(file)
        files[file] = last.files.get(file, ()) if found is None else found
    return Manifests(files, signatures)


def _documents(file: Path) -> tuple[Document, ...] | None:
    """The documents of a file, None if any of it can't be read."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    found = list(documents(content)) if len(content) <= MAX_BYTES else []
    if any(isinstance(document, Fault) for document in found) or not content.strip():
        return None
    values = (document.plain() for document in found if isinstance(document, Node))
    return tuple(_document(raw, file) for value in values for raw in _unlisted(value) if _is_object(raw))


def _is_object(raw: RawDocument) -> bool:
    metadata = raw.get("metadata")
    return isinstance(raw.get("kind"), str) and isinstance(metadata, dict) and _is_named(metadata)


def _is_named(metadata: RawDocument) -> bool:
    """Whether the names are names: here they become those of files and hosts."""
    name, namespace = metadata.get("name"), metadata.get("namespace") or "default"
    return isinstance(name, str) and is_subdomain(name) and isinstance(namespace, str) and is_label(namespace)


def _document(raw: RawDocument, file: Path) -> Document:
    filled = {**raw["metadata"], "namespace": raw["metadata"].get("namespace") or "default"}
    return Document(without_nulls({**raw, "metadata": filled}), file.parent.absolute())


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
