"""Answers the API server's question whether an SMI object, or an annotation of ours, is right: pure functions.

Rule: what one object breaks by itself is refused with the field and the reason; what only looks wrong, or may mend
itself, is a warning. A change that leaves an object's meaning alone is never refused, however wrong the object is, and
neither is anything because of a mistake of ours: the control plane reads every object again (rule F6).
Source: Kubernetes, "Dynamic Admission Control", admission.k8s.io/v1; meta/v1 StatusCause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from kube.decode import ref_of
from kube.objects import RawDocument
from kube.problem import Problem, Severity
from mesh.alone import Cluster, judge
from mesh.settings import MeshSettings
from smi.decode import read
from smi.kept import ANNOTATION, without
from smi.kinds import SmiObject
from smi.resources import Anything
from webhook.marks import MARKED, marks, marks_problems

log = structlog.get_logger(__name__)

GROUPS: Final = frozenset({"split.smi-spec.io", "access.smi-spec.io", "specs.smi-spec.io", "weft.dev"})
"""The API groups whose objects are read."""

WARNING_LENGTH: Final = 255
"""The longest warning: the API server may cut what is longer than 256 characters."""

MOST: Final = 16
"""The most causes, and the most warnings, of one answer."""

_TOLERATED: Final = frozenset({"F2", "F4"})
"""Rules whose breach grants nothing and is only warned of: the object may be meant for a mesh that knows more kinds."""

_OLD_ACCESS: Final = frozenset({"access.smi-spec.io/v1alpha1", "access.smi-spec.io/v1alpha2"})
"""The versions whose text leaves open what no rules and no sources mean (rule A7)."""


@dataclass(frozen=True, slots=True)
class Validator:
    """The mesh an object is meant for. `look` makes a look at its objects, one for each object that is checked."""

    settings: MeshSettings = field(default_factory=MeshSettings)
    look: Callable[[], Cluster] | None = None

    def review(self, document: RawDocument) -> RawDocument:
        """Answer an AdmissionReview of admission.k8s.io/v1, decoded from JSON and encoded again by the caller."""
        request = document.get("request")
        request = request if isinstance(request, dict) else {}
        try:
            errors, warnings = self._judged(request)
        except Exception:  # the one place where a mistake of ours is caught
            log.exception("an object could not be checked", kind=str(request.get("kind")), name=request.get("name"))
            errors, warnings = [], ["Weft failed to check this object; the control plane will read it all the same."]
        response: RawDocument = {"uid": request.get("uid", ""), "allowed": not errors}
        if errors:
            response["status"] = _status(request, errors)
        if warnings:
            response["warnings"] = warnings[:MOST]
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

    def _judged(self, request: RawDocument) -> tuple[list[Problem], list[str]]:
        """What refuses the request, and what its author is told."""
        new = request.get("object")
        if request.get("operation") not in {"CREATE", "UPDATE"} or request.get("subResource"):
            return [], []
        if not isinstance(new, dict):
            return [], []
        found = list(self._problems(_named(new, request)))
        errors = [problem for problem in found if problem.severity is Severity.ERROR]
        old = request.get("oldObject")
        if errors and isinstance(old, dict) and (_deleted(new) or _meaning(new) == _meaning(old)):
            return [], _told(found)
        return errors, _told(problem for problem in found if problem not in errors)

    def _problems(self, raw: RawDocument) -> Iterable[Problem]:
        """All that is to be said about an object, at the paths it has in its own version."""
        group = str(raw.get("apiVersion")).partition("/")[0]
        if group in GROUPS and raw.get("kind") == "IdentityBinding" and not self.settings.identity_bindings:
            yield _draft(raw)
        elif group in GROUPS:
            yield from self._smi_problems(raw)
        elif str(raw.get("kind")) in MARKED:
            yield from marks_problems(raw, self.settings)

    def _smi_problems(self, raw: RawDocument) -> Iterable[Problem]:
        found = read(raw)
        yield from found.problems
        if found.object is None:
            return
        judgement = judge(found.object, self.settings, self.look() if self.look else None)
        for problem in judgement.mistakes:
            yield _tolerated(raw, _placed(raw, problem))
        for problem in judgement.lacks:
            yield replace(_placed(raw, problem), severity=Severity.WARNING)
        yield from _hidden(raw, found.object)


review = Validator().review
"""Answers for a mesh with the usual settings, without a look at the cluster."""


def _tolerated(raw: RawDocument, problem: Problem) -> Problem:
    """A mistake that is only warned of."""
    silent = problem.rule == "A7" and raw.get("apiVersion") in _OLD_ACCESS
    return replace(problem, severity=Severity.WARNING) if silent or problem.rule in _TOLERATED else problem


def _placed(raw: RawDocument, problem: Problem) -> Problem:
    """The Problem at the path that this version has: v1alpha1 of TrafficTarget has no `spec`, and `specs` for rules."""
    if raw.get("kind") != "TrafficTarget" or raw.get("apiVersion") != "access.smi-spec.io/v1alpha1":
        return problem
    path = problem.field.removeprefix("spec.")
    return replace(problem, field=f"specs{path.removeprefix('rules')}" if path.startswith("rules") else path)


def _hidden(raw: RawDocument, item: Anything) -> Iterable[Problem]:
    """What the object says in an annotation only, since its version has no field for it (rule V2)."""
    metadata = raw["metadata"]
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict) or ANNOTATION not in annotations or not isinstance(item, SmiObject):
        return
    bare = read({**raw, "metadata": {**metadata, "annotations": without(annotations, [ANNOTATION])}}).object
    if not isinstance(bare, SmiObject) or replace(bare, api_version="") != replace(item, api_version=""):
        message = "It holds what this version has no field for, and is in force. Remove it if that is not meant."
        yield Problem(ref_of(raw), f"metadata.annotations[{ANNOTATION}]", message, "V2", Severity.WARNING)


def _draft(raw: RawDocument) -> Problem:
    message = "IdentityBinding is a draft of SMI, switched off in this mesh: the object is stored, and names nobody."
    return Problem(ref_of(raw), "", message, "F4", Severity.WARNING)


def _named(raw: RawDocument, request: RawDocument) -> RawDocument:
    """The object with the name and namespace it will have: the request knows them, the object need not."""
    metadata = raw.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    metadata["name"] = metadata.get("name") or request.get("name") or f"{metadata.get('generateName') or ''}x"
    if request.get("namespace"):
        metadata["namespace"] = request["namespace"]
    return {**raw, "metadata": metadata}


def _deleted(raw: RawDocument) -> bool:
    """Whether it is being deleted: then only its finalizers can still change."""
    metadata = raw.get("metadata")
    return isinstance(metadata, dict) and metadata.get("deletionTimestamp") is not None


def _meaning(raw: RawDocument) -> Any:
    """Everything of an object that is judged."""
    if str(raw.get("kind")) in MARKED:
        return marks(raw)
    metadata = raw.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    kept = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
    return without(raw, ["metadata", "status"]), kept


def _told(problems: Iterable[Problem]) -> list[str]:
    """Warnings, each on one line and short enough to be passed on whole."""
    return [_short(f"{problem.field}: " * bool(problem.field) + problem.message) for problem in problems]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WARNING_LENGTH else f"{line[: WARNING_LENGTH - 1]}…"


def _status(request: RawDocument, errors: Sequence[Problem]) -> RawDocument:
    """The metav1.Status of an object that is not valid, as the API server words its own."""
    kind = request.get("kind")
    kind = kind if isinstance(kind, dict) else {}
    name = str(request.get("name") or errors[0].object.name)
    said = [f"{problem.field or 'object'}: Invalid value: {problem.message}" for problem in errors[:MOST]]
    called = ".".join(filter(None, (str(kind.get("kind", "")), str(kind.get("group", "")))))
    causes = [
        {"reason": "FieldValueInvalid", "field": problem.field, "message": f"{problem.message} [{problem.rule}]"}
        for problem in errors[:MOST]
    ]
    details = {"name": name, "group": kind.get("group", ""), "kind": kind.get("kind", ""), "causes": causes}
    message = f'{called} "{name}" is invalid: {said[0] if len(said) == 1 else "[" + ", ".join(said) + "]"}'
    return {"status": "Failure", "code": 422, "reason": "Invalid", "message": message, "details": details}
