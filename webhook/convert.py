"""Answers the API server's ConversionReviews.

Rule: all of a review's objects are converted, or none is and the answer names the first that can't be. Only annotations
of their metadata change.
Source: Kubernetes, "Versions in CustomResourceDefinitions", "Webhook request and response"; apiextensions.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any

from kube.objects import RawDocument
from kube.problem import Problem
from smi.convert import convert


def review(request: RawDocument) -> RawDocument:
    """Answer a ConversionReview of apiextensions.k8s.io/v1, decoded from JSON and encoded again by the caller."""
    asked = request.get("request")
    asked = asked if isinstance(asked, dict) else {}
    wanted, objects = asked.get("desiredAPIVersion"), asked.get("objects")
    if not isinstance(wanted, str) or not isinstance(objects, list):
        return _answer(request, asked, _failure("The review names no desiredAPIVersion, or holds no objects."))
    converted = []
    for raw in objects:
        if not isinstance(raw, dict):
            return _answer(request, asked, _failure("The review holds something that is no object."))
        made = convert(raw, wanted)
        if isinstance(made, Problem):
            field = f" {made.field}:" if made.field else ""
            return _answer(request, asked, _failure(f"{made.object}:{field} {made.message} [{made.rule}]"))
        converted.append(made)
    return _answer(request, asked, {"result": {"status": "Success"}, "convertedObjects": converted})


def _answer(request: RawDocument, asked: dict[str, Any], response: dict[str, Any]) -> RawDocument:
    version = request.get("apiVersion")
    return {
        "apiVersion": version if isinstance(version, str) else "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "response": {"uid": asked.get("uid", ""), **response},
    }


def _failure(message: str) -> dict[str, Any]:
    return {"result": {"status": "Failure", "reason": "Invalid", "code": 422, "message": message}}
