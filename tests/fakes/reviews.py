"""Requests with an answer of their own: reviews, tokens, bindings, scale. Rule: each is one method, found by a table.

Source: Kubernetes API reference (authentication.k8s.io/v1, authorization.k8s.io/v1, TokenRequest).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.fakes import errors, validation
from tests.fakes.authn import BadTokenError
from tests.fakes.hooks import User
from tests.fakes.rbac import Asked
from tests.fakes.requests import Call, Reply, decoded
from tests.fakes.storage import Object, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api

Answer = Callable[[Call], Awaitable[Reply]]
SHORTEST, LONGEST = 600, 2**32


class Reviews:
    """Answers by (verb, plural, subresource)."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._answers: dict[tuple[str, str, str], Answer] = {
            ("create", "tokenreviews", ""): self._token_review,
            ("create", "selfsubjectreviews", ""): self._self_review,
            ("create", "subjectaccessreviews", ""): self._access_review,
            ("create", "localsubjectaccessreviews", ""): self._access_review,
            ("create", "selfsubjectaccessreviews", ""): self._access_review,
            ("create", "selfsubjectrulesreviews", ""): self._rules_review,
            ("create", "serviceaccounts", "token"): self._token_request,
            ("create", "pods", "binding"): self._bind,
            ("create", "bindings", ""): self._bind,
            ("create", "pods", "eviction"): self._evict,
            ("get", "deployments", "scale"): self._scale,
            ("update", "deployments", "scale"): self._set_scale,
            ("patch", "deployments", "scale"): self._set_scale,
            ("get", "replicasets", "scale"): self._scale,
            ("update", "replicasets", "scale"): self._set_scale,
            ("patch", "replicasets", "scale"): self._set_scale,
        }

    def answer(self, call: Call) -> Answer | None:
        """Who answers; None when it is an ordinary request."""
        return self._answers.get((call.verb, call.kind.plural, call.subresource))

    def _body(self, call: Call, kind: str, api_version: str) -> Any:
        body = decoded(call.request.body, call.request.headers.get("content-type", "application/json"))
        if not isinstance(body, dict):
            raise errors.bad_request(f"json: cannot unmarshal into Go value of type {kind}")
        if body.get("kind", kind) != kind or body.get("apiVersion", api_version) != api_version:
            text = f'{body.get("kind")} in version "{body.get("apiVersion")}" cannot be handled as a {kind}'
            raise errors.bad_request(text)
        body.setdefault("metadata", {})
        return {**body, "kind": kind, "apiVersion": api_version}

    async def _token_review(self, call: Call) -> Reply:
        body = self._body(call, "TokenReview", "authentication.k8s.io/v1")
        token = body.get("spec", {}).get("token", "")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        asked = body["spec"].get("audiences") or []
        audiences = asked or list(self._api.authn.audiences)
        try:
            user, meant = self._api.authn.of_token(token, audiences)
        except BadTokenError as bad:
            said = str(bad)
            shown = said if said == "invalid bearer token" else f"[invalid bearer token, {said}]"
            body["status"] = {"user": {}, "error": shown}
            return Reply.json(body, 201)
        body["status"] = {"authenticated": True, "user": _shown(user), "audiences": meant}
        return Reply.json(body, 201)

    async def _self_review(self, call: Call) -> Reply:
        body = self._body(call, "SelfSubjectReview", "authentication.k8s.io/v1")
        return Reply.json({**body, "status": {"userInfo": _shown(call.user)}}, 201)

    async def _access_review(self, call: Call) -> Reply:
        body = self._body(call, call.kind.kind, "authorization.k8s.io/v1")
        spec = body.get("spec") or {}
        user = call.user
        if call.kind.kind != "SelfSubjectAccessReview":
            user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        allowed = self._api.rbac.allows(user, _asked(spec))
        return Reply.json({**body, "status": {"allowed": allowed}}, 201)

    async def _rules_review(self, call: Call) -> Reply:
        body = self._body(call, "SelfSubjectRulesReview", "authorization.k8s.io/v1")
        rules = self._api.rbac.rules(call.user, (body.get("spec") or {}).get("namespace", ""))
        status = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
        return Reply.json({**body, "status": status}, 201)

    async def _token_request(self, call: Call) -> Reply:
        body = self._body(call, "TokenRequest", "authentication.k8s.io/v1")
        account = self._api.store.get(("", "serviceaccounts"), (call.namespace, call.name))
        if account is None:
            raise errors.not_found("", "serviceaccounts", call.name)
        spec = dict(body.get("spec") or {})
        seconds = spec.setdefault("expirationSeconds", 3600)
        spec["audiences"] = audiences = spec.get("audiences") or list(self._api.authn.audiences)
        if seconds < SHORTEST or seconds > LONGEST:
            said = "may not specify a duration less than 10 minutes"
            said = said if seconds < SHORTEST else "may not specify a duration larger than 2^32 seconds"
            cause = validation.wrong("spec.expirationSeconds", seconds, said)
            raise errors.invalid("authentication.k8s.io", "TokenRequest", "", [cause])
        bound = self._bound(call, spec)
        token, expires = self._api.authn.mint(account.object, audiences, seconds, bound)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
        spec.setdefault("boundObjectRef", None)
        metadata = {"name": call.name, "namespace": call.namespace, "creationTimestamp": self._api.now()}
        status = {"token": token, "expirationTimestamp": stamp}
        return Reply.json({**body, "metadata": metadata, "spec": spec, "status": status}, 201)

    def _bound(self, call: Call, spec: Object) -> dict[str, Object]:
        """The objects a token is to live and die with."""
        ref = spec.get("boundObjectRef")
        if not ref:
            return {}
        plural = {"Pod": "pods", "Secret": "secrets"}.get(ref.get("kind", ""))
        if plural is None or ref.get("apiVersion") != "v1":
            text = f"cannot bind token for serviceaccount to {ref.get('apiVersion')}, Kind={ref.get('kind')}"
            raise errors.bad_request(text)
        found = self._api.store.get(("", plural), (call.namespace, ref.get("name", "")))
        if found is None:
            raise errors.not_found("", plural, ref.get("name", ""))
        thing = found.object
        if ref.get("uid") and ref["uid"] != thing["metadata"]["uid"]:
            why = f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object might have been deleted and then recreated"  # noqa: E501 - the server's words
            raise errors.conflict("", plural, ref["name"], why)
        if plural == "secrets":
            return {"secret": thing}
        if thing["spec"].get("serviceAccountName") != call.name:
            text = (
                f"cannot bind token for serviceaccount {call.name!r} to pod running with different serviceaccount name."
            )
            raise errors.bad_request(text.replace("'", '"'))
        node = self._api.store.get(("", "nodes"), ("", thing["spec"].get("nodeName", "")))
        return {"pod": thing, "node": node.object} if node else {"pod": thing}

    async def _bind(self, call: Call) -> Reply:
        body = self._body(call, "Binding", "v1")
        name = body["metadata"].get("name", "")
        if call.name and name != call.name:
            raise errors.bad_request("name in URL does not match name in Binding object")
        target = (body.get("target") or {}).get("name", "")
        if not target:
            raise errors.invalid("", "Binding", name, [validation.required("target.name")])
        read = self._api.store.get(("", "pods"), (call.namespace, name))
        if read is None:
            raise errors.not_found("", "pods", name)
        if read.object["spec"].get("nodeName"):
            why = f'pod {name} is already assigned to node "{read.object["spec"]["nodeName"]}"'
            raise errors.conflict("", "pods/binding", name, why)
        pod = copied(read.object)
        pod["spec"]["nodeName"] = target
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions.append(
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": self._api.now()}
        )
        self._api.store.replace(("", "pods"), pod, read)
        return Reply.json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    async def _evict(self, call: Call) -> Reply:
        read = self._api.store.get(("", "pods"), (call.namespace, call.name))
        if read is None:
            raise errors.not_found("", "pods", call.name)
        body = self._body(call, "Eviction", "policy/v1")
        self._api.writes.deletion.marked(call.kind, read, body.get("deleteOptions") or {})
        return Reply.json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    async def _scale(self, call: Call) -> Reply:
        read = self._api.store.get(call.kind.key, (call.namespace, call.name))
        if read is None:
            raise errors.not_found(call.kind.group, call.kind.plural, call.name)
        return Reply.json(_scale_of(read.object))

    async def _set_scale(self, call: Call) -> Reply:
        body = decoded(call.request.body, "application/json")
        replicas = (body.get("spec") or {}).get("replicas")

        def scaled(old: Object) -> Object:
            return {**old, "spec": {**old["spec"], "replicas": replicas}} if replicas is not None else old

        plain = Call(call.request, call.user, call.verb, call.kind, call.namespace, call.name, "")
        stored = await self._api.writes.changed(plain, scaled, "UpdateOptions")
        return Reply.json(_scale_of(stored.object))


def _scale_of(thing: Object) -> Object:
    labels = (thing["spec"].get("selector") or {}).get("matchLabels") or {}
    metadata = {k: thing["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    status = {
        "replicas": thing.get("status", {}).get("replicas", 0),
        "selector": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
    }
    spec = {"replicas": thing["spec"].get("replicas", 1)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _asked(spec: Object) -> Asked:
    if path := spec.get("nonResourceAttributes"):
        return Asked(path.get("verb", ""), path=path.get("path", ""))
    wanted = spec.get("resourceAttributes") or {}
    return Asked(
        wanted.get("verb", ""), wanted.get("group", ""), wanted.get("resource", ""), wanted.get("subresource", ""),
        wanted.get("namespace", ""), wanted.get("name", ""),
    )  # fmt: skip


def _shown(user: User) -> Object:
    shown: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": user.extra}
    return {name: value for name, value in shown.items() if value}
