"""What may be written into webhook configurations and CRDs. Rule: the words are an API server's, the checks those that
a mistake of ours would break; what the fake can't do is refused with 501, so that no test passes on it by accident.

Source: k8s.io/kubernetes/pkg/apis/admissionregistration/validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes import errors
from tests.fakes.errors import Cause
from tests.fakes.hooks import Attempt
from tests.fakes.schema import unsupported
from tests.fakes.storage import Object

REQUIRED = "FieldValueRequired"
UNSUPPORTED = "FieldValueNotSupported"


def check_configuration(attempt: Attempt) -> None:
    """Refuse a webhook configuration or a CRD that a real API server refuses, or that the fake can't obey."""
    thing = attempt.object
    if thing is None or attempt.subresource:
        return
    if attempt.kind.group == "admissionregistration.k8s.io":
        for hook in thing.get("webhooks") or ():
            if hook.get("matchConditions"):
                raise _impossible(f"matchConditions of webhook {hook.get('name')}")
        causes = list(_webhooks(thing))
    elif attempt.kind.plural == "customresourcedefinitions":
        for version in thing["spec"].get("versions") or ():
            for place in unsupported((version.get("schema") or {}).get("openAPIV3Schema") or {}):
                raise _impossible(f"{version.get('name')}: {place}")
        causes = list(_conversion(thing["spec"].get("conversion") or {}))
    else:
        return
    if causes:
        raise errors.invalid(attempt.kind.group, attempt.kind.kind, attempt.name, causes)


def _impossible(what: str) -> errors.StatusError:
    text = f"the fake API server evaluates no CEL: {what}"
    return errors.StatusError(501, "NotImplemented", text)


def _webhooks(thing: Object) -> Iterator[Cause]:
    names: set[str] = set()
    for number, hook in enumerate(thing.get("webhooks") or ()):
        field, name = f"webhooks[{number}]", hook.get("name", "")
        if name.count(".") < 2:
            detail = "should be a domain with at least three segments separated by dots"
            yield Cause(f"{field}.name", f"Invalid value: {json.dumps(name)}: {detail}")
        if name in names:
            yield Cause(f"{field}.name", f"Duplicate value: {json.dumps(name)}", "FieldValueDuplicate")
        names.add(name)
        yield from _hook(field, hook)


def _hook(field: str, hook: Mapping[str, Any]) -> Iterator[Cause]:
    versions = hook.get("admissionReviewVersions") or []
    if not versions:
        detail = "must specify one of v1, v1beta1"
        yield Cause(f"{field}.admissionReviewVersions", f"Required value: {detail}", REQUIRED)
    effects = hook.get("sideEffects")
    if effects is None:
        yield Cause(f"{field}.sideEffects", "Required value: must specify one of None, NoneOnDryRun", REQUIRED)
    elif effects not in {"None", "NoneOnDryRun"}:
        detail = 'supported values: "None", "NoneOnDryRun"'
        yield Cause(f"{field}.sideEffects", f"Unsupported value: {json.dumps(effects)}: {detail}", UNSUPPORTED)
    seconds = hook.get("timeoutSeconds", 10)
    if not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        yield Cause(f"{field}.timeoutSeconds", f"Invalid value: {seconds}: {detail}")
    yield from _client(f"{field}.clientConfig", hook.get("clientConfig") or {})


def _client(field: str, config: Mapping[str, Any]) -> Iterator[Cause]:
    if ("url" in config) == ("service" in config):
        yield Cause(field, "Required value: exactly one of url or service is required", REQUIRED)
    if not str(config.get("url", "https://")).startswith("https://"):
        detail = "'https' is the only allowed URL scheme"
        scheme = json.dumps(config["url"].partition(":")[0])
        yield Cause(f"{field}.url", f"Invalid value: {scheme}: {detail}; desired format: https://host[/path]")


def _conversion(conversion: Mapping[str, Any]) -> Iterator[Cause]:
    if conversion.get("strategy") != "Webhook":
        return
    # The fields are named as in the API of long ago.
    field, webhook = "spec.conversion", conversion.get("webhook") or {}
    if not webhook.get("clientConfig"):
        detail = "required when strategy is set to Webhook"
        yield Cause(f"{field}.webhookClientConfig", f"Required value: {detail}", REQUIRED)
    else:
        yield from _client(f"{field}.webhookClientConfig", webhook["clientConfig"])
    if not webhook.get("conversionReviewVersions"):
        yield Cause(f"{field}.conversionReviewVersions", "Required value", REQUIRED)
