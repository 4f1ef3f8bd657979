"""What the server says its requests look like. Rule: as much as clients ask before they leave validation to the server.

kubectl and Helm look in `/openapi/v3` whether a kind's PATCH knows `fieldValidation`; where it does, they check no
schema of their own. Source: Kubernetes page "The Kubernetes API" (OpenAPI V3); client-go's QueryParamVerifierV3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.kinds import Kind
from tests.fakes.requests import Reply

if TYPE_CHECKING:
    from tests.fakes.api import Api

FIELD_VALIDATION = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def answer(api: Api, path: str) -> Reply | None:
    """The answer to a path below /openapi; None for another."""
    if not path.startswith("/openapi/v3"):
        return None
    wanted = path.removeprefix("/openapi/v3").strip("/")
    documents = {_place(kind) for kind in api.kinds}
    if not wanted:
        return Reply.json({"paths": {each: {"serverRelativeURL": f"/openapi/v3/{each}?hash=0"} for each in documents}})
    kinds = [kind for kind in api.kinds if _place(kind) == wanted]
    return Reply.json(_document(wanted, kinds)) if kinds else None


def _place(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _document(place: str, kinds: list[Kind]) -> dict[str, Any]:
    paths = {}
    for kind in kinds:
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        patch = {
            "operationId": f"patch{kind.kind}",
            "parameters": [FIELD_VALIDATION],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        }
        paths[f"/{place}{scope}/{kind.plural}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "fake"}, "paths": paths, "components": {}}
