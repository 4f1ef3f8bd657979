"""The injector on whole manifests (`weft inject -f`): every pod inside a Deployment, a Job, a List and so on.

Rule: what is no pod comes out as it came in, in the same order; one unreadable file takes no other with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from kube.objects import RawDocument
from kube.problem import Problem, Ref
from webhook.inject import InjectorSettings, NamespaceView, inject

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind keeps the pod it makes."""

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is a text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # its stub says instance variable
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Labels = Mapping[str, Mapping[str, str]]
"""The labels of each namespace that is known."""


@dataclass(frozen=True, slots=True)
class Injected:
    """One document after injection, and a sentence for each pod in it that says what became of it."""

    document: RawDocument
    notes: tuple[str | Problem, ...] = ()


def inject_document(
    document: RawDocument, namespaces: Labels, settings: InjectorSettings, *, everything: bool = False
) -> Injected:
    """Inject into the pods that a document holds: in itself, in its template, or in its items when it is a List."""
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        made = [
            inject_document(item, namespaces, settings, everything=everything)
            if isinstance(item, dict) else Injected(item)
            for item in document["items"]
        ]  # fmt: skip
        notes = tuple(note for item in made for note in item.notes)
        return Injected({**document, "items": [item.document for item in made]}, notes)
    path = TEMPLATES.get(str(document.get("kind")))
    template = _at(document, path) if path is not None else None
    if path is None or not isinstance(template, dict):
        return Injected(document)
    owner = _ref(document)
    namespace = NamespaceView(owner.namespace, namespaces.get(owner.namespace, {}))
    done = inject(template, namespace, settings, everything=everything)
    problems = (_of_owner(problem, owner, path) for problem in done.problems)
    return Injected(_replaced(document, path, done.pod), (f"{owner}: {done.reason}", *problems))


def inject_documents(
    paths: Sequence[Path], settings: InjectorSettings, *, everything: bool = False
) -> tuple[list[RawDocument], list[str | Problem]]:
    """Inject into all manifests of these files and folders.

    Returns the documents, and for a person to read: a sentence for each pod, a Problem for each mistake.
    """
    documents: list[RawDocument] = []
    notes: list[str | Problem] = []
    for file in _files(paths):
        try:
            documents += [item for item in yaml.load_all(file.read_text(), _Loader) if isinstance(item, dict)]
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            notes.append(Problem(Ref("File", "", str(file)), "", f"it can't be read and is left out: {why}", "decode"))
    namespaces = namespace_labels(documents)
    made = [inject_document(document, namespaces, settings, everything=everything) for document in documents]
    return [item.document for item in made], [*notes, *(note for item in made for note in item.notes)]


def namespace_labels(documents: Sequence[RawDocument]) -> Labels:
    """The labels of the Namespaces among these documents, also of those in Lists."""
    found: dict[str, Mapping[str, str]] = {}
    for document in documents:
        items = document.get("items")
        if isinstance(items, list):
            found.update(namespace_labels([item for item in items if isinstance(item, dict)]))
        labels = _at(document, ("metadata", "labels"))
        if document.get("kind") == "Namespace" and isinstance(labels, dict):
            found[_ref(document).name] = {str(key): str(value) for key, value in labels.items()}
    return found


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        else:
            yield path


def _ref(document: RawDocument) -> Ref:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    return Ref(str(document.get("kind", "")), str(metadata.get("namespace") or "default"), str(name))


def _at(document: RawDocument, path: Sequence[str]) -> Any:
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _replaced(document: RawDocument, path: Sequence[str], pod: RawDocument) -> RawDocument:
    if not path:
        return pod
    return {**document, path[0]: _replaced(document[path[0]], path[1:], pod)}


def _of_owner(problem: Problem, owner: Ref, path: Sequence[str]) -> Problem:
    """The same Problem where its reader finds it: in the object that holds the pod."""
    return replace(problem, object=owner, field=".".join((*path, problem.field)) if problem.field else ".".join(path))
