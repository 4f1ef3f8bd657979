"""What a kind's registry adds to a write: decoding, status apart from spec, generations. Rule: no sockets here.

Source: the strategy.go files below kubernetes/pkg/registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.fakes import builtin, errors, limits, plugins, typed, validation
from tests.fakes.errors import Cause
from tests.fakes.hooks import Attempt
from tests.fakes.kinds import Kind, words
from tests.fakes.requests import Call
from tests.fakes.storage import Object

if TYPE_CHECKING:
    from tests.fakes.api import Api

GENERATIONS = words(
    "deployments replicasets statefulsets daemonsets jobs pods poddisruptionbudgets ingresses "
    "networkpolicies mutatingwebhookconfigurations validatingwebhookconfigurations "
    "customresourcedefinitions priorityclasses validatingadmissionpolicies "
    "validatingadmissionpolicybindings ingressclasses endpointslices cronjobs"
)
NEED_VERSION = words(
    "leases poddisruptionbudgets mutatingwebhookconfigurations validatingwebhookconfigurations "
    "customresourcedefinitions apiservices"
)


def counts_generations(kind: Kind) -> bool:
    return kind.crd is not None or kind.plural in GENERATIONS


def needs_version(kind: Kind) -> bool:
    """Whether an update must name the resourceVersion it is based on."""
    return kind.crd is not None or kind.plural in NEED_VERSION


def body_kind(call: Call) -> Kind:
    """The kind the request's body is of."""
    return call.kind


def settled(api: Api, kind: Kind, thing: Object) -> tuple[Object, list[str]]:
    """Decoded: pruned and defaulted; with the paths of unknown fields."""
    if kind.crd is not None:
        head = {"apiVersion": thing["apiVersion"], "kind": thing["kind"]}
        metadata, unknown = typed.decoded(kind, thing["metadata"], "V1ObjectMeta")
        body, more = api.schemas.settle(kind, {**thing, "metadata": metadata})
        return {**head, **body}, [*(f"metadata.{each}" for each in unknown), *more]
    found, unknown = typed.decoded(kind, thing)
    return builtin.defaulted(kind, found), unknown


def report_unknown(call: Call, unknown: Sequence[str]) -> None:
    """fieldValidation: refuse, warn, or say nothing."""
    if not unknown:
        return
    said = [f'unknown field "{each}"' for each in unknown]
    match call.query.get("fieldValidation", "Warn"):
        case "Strict":
            raise errors.bad_request(
                f'{call.kind.kind} in version "{call.kind.version}" cannot be handled as a {call.kind.kind}: '
                f"strict decoding error: {', '.join(said)}"
            )
        case "Warn" | "":
            call.warnings.extend(each for each in said if each not in call.warnings)


def prepared(api: Api, kind: Kind, thing: Object) -> Object:
    """A new object: what only the server sets, and no status where status has its own path."""
    if "status" in kind.subresources:
        thing = {name: value for name, value in thing.items() if name != "status"}
    return builtin.prepared(api, kind, thing) if kind.crd is None else thing


def separated(api: Api, call: Call, new: Object, old: Object) -> Object:
    """A write to the object leaves status alone, one to /status changes nothing else."""
    kind = call.kind
    if call.subresource in {"status", "approval"}:
        new = _only_status(kind, new, old)
    elif "status" in kind.subresources:
        new = {name: value for name, value in new.items() if name != "status"}
        if "status" in old:
            new["status"] = old["status"]
    if kind.crd is None:
        new = builtin.kept(api, call, new, old)
    if counts_generations(kind) and _spec(kind, new) != _spec(kind, old):
        generation = old["metadata"].get("generation", 0) + 1
        new = {**new, "metadata": {**new["metadata"], "generation": generation}}
    return new


def _only_status(kind: Kind, new: Object, old: Object) -> Object:
    metadata = {**old["metadata"]}
    if kind.crd is None:  # labels and annotations of built-in kinds may come along
        for name in ("labels", "annotations"):
            if name in new["metadata"]:
                metadata[name] = new["metadata"][name]
    if "managedFields" in new["metadata"]:
        metadata["managedFields"] = new["metadata"]["managedFields"]
    result = {**old, "metadata": metadata}
    result.pop("status", None)
    if "status" in new:
        result["status"] = new["status"]
    return result


def _spec(kind: Kind, thing: Object) -> Object:
    """What a generation counts changes of."""
    left_out = {"metadata", "apiVersion", "kind"} | ({"status"} if "status" in kind.subresources else set())
    return {name: value for name, value in thing.items() if name not in left_out}


async def admit(api: Api, attempt: Attempt) -> None:
    """The admission plugins that are part of the server."""
    plugins.namespace_lifecycle(api, attempt)
    plugins.service_account(api, attempt)
    plugins.priority_and_tolerations(attempt)


def problems(api: Api, kind: Kind, thing: Object, old: Object | None) -> list[Cause]:
    """What is wrong with an object."""
    found = list(validation.metadata(kind, thing, old))
    if kind.crd is not None:
        return [*found, *api.schemas.problems(kind, thing, old)]
    return [*found, *validation.built_in(kind, thing, old), *limits.built_in(kind, thing, old)]
