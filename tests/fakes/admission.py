"""Admission webhooks: who is called for a write, in which order, and what their answers do.

Rule: mutating webhooks are called one after another and see each other's changes, validating ones together; what a
webhook may not do fails as on a real API server. Conditions in CEL (`matchConditions`) are refused when a configuration
is written, so that nobody believes they were evaluated.
Source: Kubernetes page "Dynamic Admission Control"; k8s.io/apiserver/pkg/admission/plugin/webhook.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes import errors, patches, pod_security, selectors
from tests.fakes.admission_rules import check_configuration
from tests.fakes.hooks import Attempt, Conversion
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object, Store, copied
from tests.fakes.webhook_client import CallError, call

GROUP = "admissionregistration.k8s.io"
NAMESPACES = ("", "namespaces")
API = "admission.k8s.io/v1"


@dataclass(frozen=True)
class Hook:
    """One webhook of a configuration, with the defaults filled in."""

    configuration: str
    number: int
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def mandatory(self) -> bool:
        """Whether a write fails when it can't be called."""
        return bool(self.config.get("failurePolicy", "Fail") == "Fail")

    @property
    def again(self) -> bool:
        """Whether it is called again when a later webhook changed the object."""
        return bool(self.config.get("reinvocationPolicy") == "IfNeeded")


@dataclass
class Round:
    """What one write's mutating webhooks have done so far."""

    called: list[Hook] = field(default_factory=list)
    due: list[Hook] = field(default_factory=list)

    def changed(self) -> None:
        """All that were called before and wish it are due again."""
        self.due += [each for each in self.called if each not in self.due]
        self.called = []


class Webhooks:
    """The webhooks of the configurations in the store."""

    def __init__(self, store: Store, conversion: Conversion) -> None:
        self._store = store
        self._conversion = conversion

    async def mutate(self, attempt: Attempt) -> None:
        """Call the mutating webhooks that match; each sees what those before it made of the object."""
        progress = Round()
        for hook in self._hooks("mutatingwebhookconfigurations"):
            await self._mutate_by(hook, attempt, progress)
        again = Round()
        for hook in sorted(progress.due, key=lambda each: (each.configuration, each.number)):
            await self._mutate_by(hook, attempt, again)

    async def _mutate_by(self, hook: Hook, attempt: Attempt, progress: Round) -> None:
        kind = self._matching(hook, attempt)
        if kind is None:
            return
        patch = await self._ask(hook, attempt, kind, mutating=True)
        if patch and await self._patch(hook, attempt, kind, patch):
            progress.changed()
        if hook.again:
            progress.called.append(hook)

    async def validate(self, attempt: Attempt) -> None:
        """Call all validating webhooks that match; the first refusal counts."""
        check_configuration(attempt)
        pod_security.check(self._store, attempt)
        asked = []
        for hook in self._hooks("validatingwebhookconfigurations"):
            kind = self._matching(hook, attempt)
            if kind is not None:
                asked.append(self._ask(hook, attempt, kind, mutating=False))
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _hooks(self, plural: str) -> Iterator[Hook]:
        """By the name of the configuration, then as they stand in it."""
        for stored in self._store.all((GROUP, plural)):
            for number, config in enumerate(stored.object.get("webhooks") or ()):
                yield Hook(stored.object["metadata"]["name"], number, config)

    # --- who is called

    def _matching(self, hook: Hook, attempt: Attempt) -> Kind | None:
        """The kind, in the version the webhook wishes, or None when it is not called."""
        if attempt.kind.group == GROUP or not self._namespace_selected(hook, attempt):
            return None
        if not _object_selected(hook, attempt):
            return None
        rules = hook.config.get("rules") or ()
        if any(_matches(rule, attempt, attempt.kind.version) for rule in rules):
            return attempt.kind
        if hook.config.get("matchPolicy", "Equivalent") == "Equivalent":
            for rule in rules:
                for version in _other_versions(attempt.kind):
                    if _matches(rule, attempt, version):
                        return replace(attempt.kind, version=version)
        return None

    def _namespace_selected(self, hook: Hook, attempt: Attempt) -> bool:
        selector = hook.config.get("namespaceSelector") or {}
        itself = attempt.kind.key == NAMESPACES and not attempt.subresource
        if not selector or (not attempt.namespace and not itself):
            return True
        if itself and attempt.object is not None:
            labels = attempt.object["metadata"].get("labels") or {}
        else:
            stored = self._store.get(NAMESPACES, ("", attempt.name if itself else attempt.namespace))
            if stored is None:
                raise errors.not_found("", "namespaces", attempt.namespace)
            labels = stored.object["metadata"].get("labels") or {}
        return selectors.of_selector(selector)(labels)

    # --- what is asked

    async def _ask(self, hook: Hook, attempt: Attempt, kind: Kind, *, mutating: bool) -> list[Any]:
        """The patch the webhook answers with. Raises when it refuses, or fails and is mandatory."""
        if attempt.dry_run and hook.config.get("sideEffects") not in {"None", "NoneOnDryRun"}:
            raise errors.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        review = await self._review(attempt, kind)
        seconds = hook.config.get("timeoutSeconds") or 10
        try:
            try:
                answer = await call(self._store, hook.config["clientConfig"], review, seconds)
            except CallError as error:
                raise CallError(f"failed to call webhook: {error}") from None
            response = _verified(answer, review["request"]["uid"], mutating=mutating)
            patch = _decoded_patch(response)
        except CallError as error:
            if hook.mandatory:
                raise errors.internal(f'failed calling webhook "{hook.name}": {error}') from None
            return []
        attempt.warnings += response.get("warnings") or []
        if not response.get("allowed"):
            raise _refusal(hook, response.get("status") or response.get("result") or {})
        return patch

    async def _review(self, attempt: Attempt, kind: Kind) -> Object:
        asked, shown = attempt.kind, [attempt.object, attempt.old]
        if kind.version != asked.version:
            shown = [await self._converted(kind, each) for each in shown]
        user = attempt.user
        request = {
            "uid": str(uuid.uuid4()),
            "kind": _kind_of(kind),
            "resource": _resource_of(kind),
            "requestKind": _kind_of(asked),
            "requestResource": _resource_of(asked),
            "namespace": attempt.namespace,
            "name": attempt.name,
            "operation": attempt.operation,
            "userInfo": {
                "username": user.name,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": dict(user.extra),
            },
            "object": shown[0],
            "oldObject": shown[1],
            "dryRun": attempt.dry_run,
            "options": attempt.options,
        }
        if attempt.subresource:
            request |= {"subResource": attempt.subresource, "requestSubResource": attempt.subresource}
        for name in ("namespace", "name"):
            if not request[name]:
                del request[name]
        return {"kind": "AdmissionReview", "apiVersion": API, "request": request}

    async def _converted(self, kind: Kind, thing: Object | None) -> Object | None:
        if thing is None:
            return None
        return (await self._conversion.convert(kind, [copied(thing)], kind.api_version))[0]

    async def _patch(self, hook: Hook, attempt: Attempt, kind: Kind, patch: list[Any]) -> bool:
        """Apply a patch. Returns whether it changed anything."""
        if attempt.object is None:
            text = "attempted to modify the object, which is not supported for this operation"
            raise errors.internal(f'admission webhook "{hook.name}" {text}')
        seen = attempt.object if kind == attempt.kind else await self._converted(kind, attempt.object)
        try:
            made: Object | None = patches.json_patch(seen or {}, patch)
        except errors.StatusError as error:
            raise errors.internal(error.message) from None
        if kind.version != attempt.kind.version:
            made = await self._converted(attempt.kind, made)
        made = attempt.settle(made or {})
        changed = made != attempt.object
        if changed:
            attempt.object = made
        return changed


def _object_selected(hook: Hook, attempt: Attempt) -> bool:
    selector = hook.config.get("objectSelector") or {}
    if not selector:
        return True
    chosen = selectors.of_selector(selector)
    things = [each for each in (attempt.object, attempt.old) if each is not None]
    return any(chosen(each.get("metadata", {}).get("labels") or {}) for each in things)


def _matches(rule: Mapping[str, Any], attempt: Attempt, version: str) -> bool:
    kind = attempt.kind
    wanted = (
        ("apiGroups", kind.group),
        ("apiVersions", version),
        ("operations", attempt.operation),
    )
    if not all({"*", value} & set(rule.get(name) or ()) for name, value in wanted):
        return False
    clusterwide = kind.key == NAMESPACES or not attempt.namespace
    if rule.get("scope", "*") not in {"*", "Cluster" if clusterwide else "Namespaced"}:
        return False
    for resource in rule.get("resources") or ():
        name, _, subresource = resource.partition("/")
        if name in {"*", kind.plural} and subresource in {"*", attempt.subresource}:
            return True
    return False


def _other_versions(kind: Kind) -> Sequence[str]:
    versions = (kind.crd or {}).get("spec", {}).get("versions") or ()
    return [each["name"] for each in versions if each.get("served") and each["name"] != kind.version]


def _kind_of(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource_of(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def _verified(answer: Object, uid: str, *, mutating: bool) -> Object:
    """The response of a review, if it is one that may be given."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallError("received invalid webhook response: webhook response was absent")
    fault = ""
    if response.get("uid") != uid:
        fault = f'expected response.uid="{uid}", got "{response.get("uid", "")}"'
    elif (answer.get("apiVersion"), answer.get("kind")) != (API, "AdmissionReview"):
        group, _, version = str(answer.get("apiVersion", "")).partition("/")
        got = f"{group}/{version}, Kind={answer.get('kind', '')}"
        fault = f"expected webhook response of {API}, Kind=AdmissionReview, got {got}"
    elif not mutating and (response.get("patch") or response.get("patchType")):
        what = "patch" if response.get("patch") else "patchType"
        fault = f"validating webhook may not return response.{what}"
    elif response.get("patch") and not response.get("patchType"):
        fault = "webhook returned response.patch but not response.patchType"
    elif response.get("patchType") and not response.get("patch"):
        fault = "webhook returned response.patchType but not response.patch"
    if fault:
        raise CallError(f"received invalid webhook response: {fault}")
    return response


def _decoded_patch(response: Object) -> list[Any]:
    if not response.get("patch") or not response.get("allowed"):
        return []
    if response["patchType"] != "JSONPatch":
        raise CallError(f'unsupported patch type "{response["patchType"]}"')
    try:
        patch = json.loads(base64.b64decode(response["patch"], validate=True))
    except ValueError as error:
        raise CallError(f"received undecodable patch in webhook response: {error}") from None
    if not isinstance(patch, list):
        raise CallError("received undecodable patch in webhook response: it is no list")
    return patch


def _refusal(hook: Hook, status: Mapping[str, Any]) -> errors.StatusError:
    said = status.get("message") or status.get("reason")
    denied = f'admission webhook "{hook.name}" denied the request'
    message = f"{denied}: {said}" if said else f"{denied} without explanation"
    code = max(int(status.get("code") or 0), 400)
    return errors.StatusError(code, str(status.get("reason") or ""), message, status.get("details"))
