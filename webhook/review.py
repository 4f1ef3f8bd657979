"""The API server's question about one pod, and the answer: an AdmissionReview in, an AdmissionReview out.

Rule: pure. A pod that is refused is told the field and what is wrong with it; one that is left alone although something
asks for its sidecar carries the reason, in a warning to whoever made it and in an annotation for whoever looks later.
Source: Kubernetes documentation, "Dynamic Admission Control", admission.k8s.io/v1.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from kube.objects import RawDocument
from kube.problem import Problem
from webhook.annotations import NOT_INJECTED
from webhook.decision import NamespaceView
from webhook.inject import Injection, inject
from webhook.patch import json_patch
from webhook.settings import InjectorSettings

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

WARNING_LENGTH: Final = 256
"""Characters that the API server surely passes on of one warning."""


class ReviewError(ValueError):
    """What was posted is no question that can be answered; the message says why."""


class Resource(msgspec.Struct, frozen=True):
    """meta/v1 GroupVersionResource."""

    group: str = ""
    version: str = ""
    resource: str = ""


class AdmissionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """admission/v1 AdmissionRequest, as far as it is read. `namespace` is right even where the object's is empty."""

    uid: str
    operation: str = ""
    resource: Resource = Resource()
    sub_resource: str = ""
    namespace: str = ""
    name: str = ""
    object: Any = None

    @property
    def makes_a_pod(self) -> bool:
        """Whether a pod is being made: whatever else is asked about is none of the injector's business."""
        asked = (self.resource.group, self.resource.resource, self.sub_resource, self.operation)
        return asked == ("", "pods", "", "CREATE")

    @property
    def called(self) -> str:
        """The pod as people know it: a controller's has no name of its own yet."""
        metadata = self.object.get("metadata") if isinstance(self.object, dict) else None
        metadata = metadata if isinstance(metadata, dict) else {}
        return str(self.name or metadata.get("name") or metadata.get("generateName") or "")


class Outcome(StrEnum):
    """What became of a question, for the metrics."""

    INJECTED = "injected"
    LEFT_ALONE = "left-alone"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The answer, and what it says in a word and in a sentence."""

    document: RawDocument
    outcome: Outcome
    reason: str


def admission_request(document: object) -> AdmissionRequest:
    """What an AdmissionReview asks. Raises ReviewError."""
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ReviewError(f"this is no {KIND}")
    if document.get("apiVersion") != API_VERSION:
        raise ReviewError(f"apiVersion {document.get('apiVersion')!r} is not spoken here; {API_VERSION} is")
    try:
        return msgspec.convert(document.get("request"), AdmissionRequest)
    except msgspec.ValidationError as error:
        raise ReviewError(f"its request can't be read: {error}") from None


def review(
    request: AdmissionRequest, namespace: NamespaceView, settings: InjectorSettings, *, selected: bool
) -> Reviewed:
    """Answer whether a pod may be, and with which sidecar.

    `selected` says that the API server's own selectors chose this pod by our labels, so no label is looked for here.
    """
    if not request.makes_a_pod:
        return Reviewed(answer(request.uid), Outcome.LEFT_ALONE, "it is no pod that is being made")
    pod = request.object
    done = inject(pod, namespace, settings, everything=selected)
    audit = {"injection": done.reason}
    if done.problems:
        said = "; ".join(f"{each.field}: {each.message}" if each.field else each.message for each in done.problems)
        return Reviewed(_refusal(request.uid, done.problems, said, audit), Outcome.REFUSED, said)
    if done.injected:
        return Reviewed(answer(request.uid, before=pod, after=done.pod, audit=audit), Outcome.INJECTED, done.reason)
    told = _told(pod, done)
    told_to_maker = f"Pod {request.namespace}/{request.called} gets no sidecar of Weft: {done.reason}"
    warnings = [told_to_maker] if done.surprising else []
    document = answer(request.uid, before=pod, after=told, audit=audit, warnings=warnings)
    return Reviewed(document, Outcome.LEFT_ALONE, done.reason)


def answer(
    uid: str,
    *,
    before: Any = None,
    after: Any = None,
    warnings: Sequence[str] = (),
    audit: Mapping[str, str] | None = None,
) -> RawDocument:
    """Yes, with a patch where `after` is another document than `before`."""
    response: RawDocument = {"uid": uid, "allowed": True}
    steps = json_patch(before, after)
    if steps:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(steps)).decode()
    if warnings:
        response["warnings"] = [warning[:WARNING_LENGTH] for warning in warnings]
    if audit:
        response["auditAnnotations"] = dict(audit)
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _refusal(uid: str, problems: Sequence[Problem], said: str, audit: Mapping[str, str]) -> RawDocument:
    """No, with the metav1.Status of an object that is not valid."""
    causes = [{"reason": "FieldValueInvalid", "field": each.field, "message": each.message} for each in problems]
    status = {
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": said,
        "details": {"kind": "Pod", "causes": causes},
    }
    response = {"uid": uid, "allowed": False, "status": status, "auditAnnotations": dict(audit)}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _told(pod: RawDocument, done: Injection) -> RawDocument:
    """The pod with the reason in it, where somebody waits for its sidecar."""
    if not done.surprising:
        return pod
    metadata = pod.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), NOT_INJECTED: done.reason}
    return {**pod, "metadata": {**metadata, "annotations": annotations}}
