"""Our labels and annotations on objects that are not ours: on namespaces, Services, pods and what makes pods.

Rule: only what begins with `weft.dev/` is looked at, and each value is read by the function that acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kube import enrolment
from kube.decode import ref_of
from kube.objects import Meta, Namespace, Object, Pod, RawDocument, Service
from kube.problem import Problem, Ref, Severity
from mesh.alone import judge
from mesh.settings import MeshSettings
from smi import kept
from webhook import annotations as wishes
from webhook.documents import TEMPLATES

OURS: Final = "weft.dev/"

MARKED: Final = frozenset({"Namespace", "Service", *TEMPLATES})
"""The kinds that may carry our labels and annotations."""

_KINDS: Final[dict[str, type[Object]]] = {"Namespace": Namespace, "Service": Service}
_KNOWN: Final = frozenset(
    value
    for module in (enrolment, wishes, kept)
    for value in vars(module).values()
    if isinstance(value, str) and value.startswith(OURS)
)
_INJECT: Final = ("enabled", "disabled")


def marks(raw: RawDocument) -> tuple[dict[str, str], dict[str, str]]:
    """Our labels and our annotations on an object, or on the pods it makes."""
    metadata = _metadata(raw)
    labels, notes = metadata.get("labels"), metadata.get("annotations")
    return _ours(labels), _ours(notes)


def marks_problems(raw: RawDocument, settings: MeshSettings) -> Iterator[Problem]:
    """What is wrong with them."""
    kind, ref, prefix = str(raw.get("kind")), ref_of(raw), "".join(f"{step}." for step in _path(raw))
    labels, notes = marks(raw)
    holder = _KINDS.get(kind, Pod)
    meta = Meta(name=ref.name, namespace=ref.namespace, labels=labels, annotations=notes)
    problems = list(judge(holder(metadata=meta, kind=kind), settings).mistakes)
    if holder is Pod:
        problems += wishes.pod_wishes(notes, ref)[1]
    for problem in problems:
        yield Problem(ref, f"{prefix}{problem.field}", problem.message, problem.rule, problem.severity)
    yield from _slips(ref, prefix, labels, notes)


def _slips(ref: Ref, prefix: str, labels: dict[str, str], notes: dict[str, str]) -> Iterator[Problem]:
    """What only looks wrong: a word that enrols nobody, a name nobody reads."""
    inject = labels.get(enrolment.INJECT)
    if inject is not None and inject not in _INJECT:
        path = f"{prefix}metadata.labels[{enrolment.INJECT}]"
        message = f"{inject!r} means nothing: {' or '.join(_INJECT)} does. It is read as disabled."
        yield Problem(ref, path, message, "inject", Severity.WARNING)
    if enrolment.INJECT in notes:
        path = f"{prefix}metadata.annotations[{enrolment.INJECT}]"
        yield Problem(ref, path, "This is a label, not an annotation; it is ignored.", "inject", Severity.WARNING)
    for name in sorted(notes.keys() - _KNOWN):
        path = f"{prefix}metadata.annotations[{name}]"
        yield Problem(ref, path, "Weft has no annotation of this name; it is ignored.", "inject", Severity.WARNING)


def _path(raw: RawDocument) -> tuple[str, ...]:
    return TEMPLATES.get(str(raw.get("kind")), ())


def _metadata(raw: RawDocument) -> RawDocument:
    found: Any = raw
    for step in (*_path(raw), "metadata"):
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _ours(written: object) -> dict[str, str]:
    pairs = written.items() if isinstance(written, dict) else ()
    return {key: value for key, value in pairs if key.startswith(OURS) and isinstance(value, str)}
