"""Conversion of custom objects between versions, by the webhook that their CRD names.

Rule: a webhook changes nothing of the metadata but labels and annotations; an answer that does, or that is not
complete, fails the request as on a real API server. What was converted is pruned and defaulted by its new schema.
Source: Kubernetes page "Versions in CustomResourceDefinitions"; apiextensions-apiserver webhook_converter.go.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.fakes import errors
from tests.fakes.hooks import Schemas
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object, Store, copied
from tests.fakes.webhook_client import CallError, call

API = "apiextensions.k8s.io/v1"
SECONDS = 30.0


class Converter:
    """Converts by the CRD's strategy."""

    def __init__(self, store: Store, schemas: Schemas) -> None:
        self._store = store
        self._schemas = schemas

    async def convert(self, kind: Kind, objects: Sequence[Object], api_version: str) -> list[Object]:
        """`objects` in `api_version`, in order. Those that have it already are not sent anywhere."""
        conversion = (kind.crd or {}).get("spec", {}).get("conversion") or {}
        made = [copied(each) for each in objects]
        others = [number for number, each in enumerate(made) if each["apiVersion"] != api_version]
        if conversion.get("strategy") != "Webhook":
            for number in others:
                made[number]["apiVersion"] = api_version
        elif others:
            answers = await self._asked(kind, conversion["webhook"], [made[number] for number in others], api_version)
            for number, answer in zip(others, answers, strict=True):
                made[number] = answer
        target = replace(kind, version=api_version.rpartition("/")[2])
        for number in others:
            made[number] = self._schemas.settle(target, made[number])[0]
        return made

    async def _asked(
        self, kind: Kind, webhook: Mapping[str, Any], objects: list[Object], api_version: str
    ) -> list[Object]:
        uid = str(uuid.uuid4())
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": API, "request": request}
        group, _, version = objects[0]["apiVersion"].partition("/")
        subject = f"conversion webhook for {group}/{version}, Kind={kind.kind}"
        try:
            answer = await call(self._store, webhook["clientConfig"], review, SECONDS)
            converted = _verified(answer, uid)
        except CallError as error:
            raise _failure(f"{subject} failed: {error}") from None
        if len(converted) != len(objects):
            raise _failure(f"{subject} returned {len(converted)} objects, expected {len(objects)}")
        for number, (before, after) in enumerate(zip(objects, converted, strict=True)):
            if fault := _fault(before, after, api_version):
                raise _failure(f"{subject} returned invalid converted object at index {number}: {fault}")
            after["metadata"] = _restored(before["metadata"], after["metadata"])
        return converted


def _failure(text: str) -> errors.StatusError:
    """An error that is no Status of its own becomes one without details."""
    return errors.StatusError(500, "", text)


def _verified(answer: Object, uid: str) -> list[Any]:
    """The converted objects of a review."""
    response = answer.get("response")
    if (answer.get("apiVersion"), answer.get("kind")) != (API, "ConversionReview"):
        got = f"{answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
        raise CallError(f"expected webhook response of {API}, Kind=ConversionReview, got {got}")
    if not isinstance(response, dict):
        raise CallError("no response provided")
    if response.get("uid") != uid:
        raise CallError(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        said = result.get("message")
        raise CallError(said or f"response.result.status was '{result.get('status', '')}', not 'Success'")
    found: list[Any] = response.get("convertedObjects") or []
    return found


def _fault(before: Object, after: Any, api_version: str) -> str:
    """Why this is no conversion of that object."""
    if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
        return "it is no object"
    for name, expected, got in (
        ("groupVersion", api_version, after.get("apiVersion")),
        ("kind", before.get("kind"), after.get("kind")),
    ):
        if expected != got:
            return f"invalid {name} (expected {expected}, received {got})"
    for name in ("name", "namespace", "uid"):
        old, new = before["metadata"].get(name, ""), after["metadata"].get(name, "")
        if old != new:
            shown = "UID" if name == "uid" else name
            return f"must have the same {shown}: {old} != {new}"
    return ""


def _restored(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """The metadata as it was, with the new labels and annotations."""
    kept = {name: value for name, value in before.items() if name not in {"labels", "annotations"}}
    return kept | {name: after[name] for name in ("labels", "annotations") if after.get(name)}
