"""Create, update, patch and delete. Rule: a write is one read, one change, the hooks, and one compare-and-swap.

Source: k8s.io/apiserver/pkg/registry/rest (create.go, update.go, delete.go) and registry/generic/registry/store.go.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fakes import deletion, errors, events, ownership, patches, strategies
from tests.fakes.hooks import Attempt
from tests.fakes.kinds import Kind, storage_key
from tests.fakes.requests import Call, Reply, decoded
from tests.fakes.storage import Object, Place, StaleError, Stored, copied, place_of

if TYPE_CHECKING:
    from tests.fakes.api import Api

Change = Callable[[Object], Object]
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # the letters generateName uses
TRIES = 6


def suffix() -> str:
    """Five letters for generateName."""
    return "".join(secrets.choice(SUFFIX) for _ in range(5))


class Writer:
    """Answers create, update and patch, and deletes through `deletion`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.deletion = deletion.Deleter(api, self)

    # --- create

    async def create(self, call: Call) -> Reply:
        thing = self._decoded(call)
        stored = await self.created(call, thing)
        return await self._shown(call, stored, 201)

    async def created(self, call: Call, thing: Object) -> Stored:
        """Create `thing` on behalf of the call."""
        kind, api = call.kind, self._api
        metadata = thing["metadata"]
        if metadata.get("resourceVersion"):
            raise errors.StatusError(500, "", "resourceVersion should not be set on objects to be created")
        thing = self._settled(call, thing)
        thing = ownership.tracked(api, call, None, thing)
        attempt = self._attempt(call, "CREATE", thing, None, "CreateOptions")
        await self._mutated(attempt)
        thing = attempt.object or thing
        self._fill(kind, thing)
        thing = strategies.prepared(api, kind, thing)
        self._check(kind, thing, None)
        attempt.object, attempt.name = thing, thing["metadata"]["name"]
        await api.admission.validate(attempt)
        return await self._put(call, kind, thing)

    async def _put(self, call: Call, kind: Kind, thing: Object) -> Stored:
        store, place = self._api.store, place_of(thing)
        if store.get(storage_key(kind), place) is not None:
            raise errors.already_exists(kind.group, kind.plural, place[1])
        thing = await self._to_storage(kind, thing)
        if call.dry_run:
            return Stored(thing, 0)
        if store.get(storage_key(kind), place) is not None:
            raise errors.already_exists(kind.group, kind.plural, place[1])
        return store.create(storage_key(kind), thing)

    def _fill(self, kind: Kind, thing: Object) -> None:
        """What the server sets on a new object."""
        metadata = thing["metadata"]
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                why = errors.Cause(
                    "metadata.name", "Required value: name or generateName is required", "FieldValueRequired"
                )
                raise errors.invalid(kind.group, kind.kind, "", [why])
            metadata["name"] = metadata["generateName"][:58] + suffix()
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._api.now()
        metadata.pop("generation", None)
        if strategies.counts_generations(kind):
            metadata["generation"] = 1

    # --- update

    async def update(self, call: Call) -> Reply:
        thing = self._decoded(call)
        if thing["metadata"].get("name") != call.name:
            given = thing["metadata"].get("name", "")
            text = f"the name of the object ({given}) does not match the name on the URL ({call.name})"
            raise errors.bad_request(text if given else "name must be provided")
        key, place = storage_key(call.kind), self._api.place(call)
        if self._api.store.get(key, place) is None and not call.subresource and call.kind.plural in CREATED_ON_UPDATE:
            return await self._shown(call, await self.created(call, thing), 201)
        stored = await self.changed(call, lambda _old: copied(thing), "UpdateOptions")
        return await self._shown(call, stored)

    async def patch(self, call: Call) -> Reply:
        media = call.request.headers.get("content-type", "").partition(";")[0].strip()
        if media.startswith("application/apply-patch"):
            return await self._apply(call)
        document = decoded(call.request.body, "application/json")
        make = patches.patcher(call.kind, media, document)
        stored = await self.changed(call, make, "UpdateOptions")
        return await self._shown(call, stored)

    async def _apply(self, call: Call) -> Reply:
        """Server-side apply: creates what does not exist."""
        wanted = decoded(call.request.body, "application/apply-patch+yaml")
        ownership.check_applied(call, wanted)
        key, place = storage_key(call.kind), self._api.place(call)
        if self._api.store.get(key, place) is None:
            if call.subresource:
                raise errors.not_found(call.kind.group, call.kind.plural, call.name)
            if wanted["metadata"].get("resourceVersion") or wanted["metadata"].get("uid"):
                raise errors.conflict(call.kind.group, call.kind.plural, call.name, "the object doesn't exist")
            wanted["metadata"].setdefault("namespace", call.namespace)
            return await self._shown(call, await self.created(call, self._named(call, wanted)), 201)
        stored = await self.changed(call, lambda old: ownership.applied(call, old, wanted), "UpdateOptions")
        return await self._shown(call, stored)

    async def changed(self, call: Call, make: Change, options: str) -> Stored:
        """Apply `make` to the object as it is, again when another write came between."""
        for _ in range(TRIES):
            key, place = storage_key(call.kind), self._api.place(call)
            read = self._api.store.get(key, place)
            if read is None:
                raise errors.not_found(call.kind.group, call.kind.plural, call.name)
            try:
                return await self._change_once(call, read, make, options)
            except StaleError:
                continue
        raise errors.conflict(call.kind.group, call.kind.plural, call.name)

    async def _change_once(self, call: Call, read: Stored, make: Change, options: str) -> Stored:
        kind, api = call.kind, self._api
        old = await self._from_storage(kind, read.object)
        new = make(copied(old))
        new = self._named(call, new)
        new = self._settled(call, new)
        self._same_object(call, old, new)
        new = strategies.separated(api, call, new, old)
        new = ownership.tracked(api, call, old, new)
        attempt = self._attempt(call, "UPDATE", new, old, options)
        await self._mutated(attempt)
        new = strategies.separated(api, call, attempt.object or new, old)
        self._check(kind, new, old)
        attempt.object = new
        await api.admission.validate(attempt)
        return await self._store_change(call, read, old, new)

    async def _store_change(self, call: Call, read: Stored, old: Object, new: Object) -> Stored:
        kind, api = call.kind, self._api
        if ownership.unchanged(old, new):
            return read
        stored = await self._to_storage(kind, new)
        if call.dry_run:
            return Stored(stored, read.version)
        key = storage_key(kind)
        if new["metadata"].get("deletionTimestamp") and deletion.is_over(kind, new):
            written = api.store.replace(key, stored, read)
            return api.store.delete(key, written)
        return api.store.replace(key, stored, read)

    def _same_object(self, call: Call, old: Object, new: Object) -> None:
        """The new state is of the object that is stored, and of its last version where the writer named one."""
        kind, metadata, before = call.kind, new["metadata"], old["metadata"]
        if metadata.get("uid") and metadata["uid"] != before["uid"]:
            key = f"/registry/{kind.plural}/{before.get('namespace', '')}/{before['name']}"
            why = (
                f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
            )
            raise errors.conflict(kind.group, kind.plural, call.name, why)
        version = metadata.get("resourceVersion")
        if not version and call.verb == "update" and strategies.needs_version(kind):
            cause = errors.Cause("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
            raise errors.invalid(kind.group, kind.plural, call.name, [cause])
        if version and version != before["resourceVersion"]:
            raise errors.conflict(kind.group, kind.plural, call.name)
        for name in KEPT:
            if name in before:
                metadata[name] = before[name]
            else:
                metadata.pop(name, None)

    # --- what both do

    def _decoded(self, call: Call) -> Object:
        content_type = call.request.headers.get("content-type", "application/json")
        return self._named(call, decoded(call.request.body, content_type, call.kind.kind))

    def _named(self, call: Call, thing: Any) -> Object:
        """The body's kind, version and namespace agree with the path."""
        kind = strategies.body_kind(call)
        if not isinstance(thing, dict):
            raise errors.bad_request(f"json: cannot unmarshal into Go value of type {kind.kind}")
        version = thing.setdefault("apiVersion", kind.api_version) or kind.api_version
        if kind.crd is not None and not thing.get("kind"):
            raise errors.bad_request("Object 'Kind' is missing in the object provided")
        name = thing.setdefault("kind", kind.kind)
        if version != kind.api_version and kind.crd is None:
            missing = f'no kind "{name}" is registered for version "{version}" in scheme "{SCHEME}"'
            raise errors.bad_request(
                f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}: {missing}'
            )
        if version != kind.api_version:
            text = (
                f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
            )
            raise errors.bad_request(text)
        if name != kind.kind:
            if kind.crd is not None:
                why = errors.Cause("kind", f'Invalid value: "{name}": must be {kind.kind}')
                raise errors.invalid(kind.group, kind.kind, (thing.get("metadata") or {}).get("name", ""), [why])
            raise errors.bad_request(_not_of_kind(kind, name))
        metadata = thing.get("metadata")
        thing["metadata"] = metadata = {} if metadata is None else metadata
        if not isinstance(metadata, dict):
            raise errors.bad_request("json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
        self._in_namespace(call, metadata)
        return thing

    def _in_namespace(self, call: Call, metadata: Object) -> None:
        if not call.kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace", call.namespace) not in {"", call.namespace}:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise errors.bad_request(text)
        metadata["namespace"] = call.namespace

    def _settled(self, call: Call, thing: Object) -> Object:
        settled, unknown = strategies.settled(self._api, call.kind, thing)
        strategies.report_unknown(call, unknown)
        return settled

    async def _mutated(self, attempt: Attempt) -> None:
        await strategies.admit(self._api, attempt)
        before = attempt.object
        await self._api.admission.mutate(attempt)
        if attempt.object is not None and attempt.object is not before:
            attempt.object = strategies.settled(self._api, attempt.kind, attempt.object)[0]
            await strategies.admit(self._api, attempt)

    def _check(self, kind: Kind, thing: Object, old: Object | None) -> None:
        causes = list(strategies.problems(self._api, kind, thing, old))
        if causes:
            raise errors.invalid(kind.group, kind.kind, thing["metadata"].get("name", ""), causes)

    def _attempt(self, call: Call, operation: str, thing: Object | None, old: Object | None, options: str) -> Attempt:
        kind = call.kind
        given: Object = {"kind": options, "apiVersion": "meta.k8s.io/v1"}
        for name in ("fieldManager", "fieldValidation"):
            if value := call.query.get(name):
                given[name] = value
        if call.dry_run:
            given["dryRun"] = ["All"]
        name = call.name or (thing or {}).get("metadata", {}).get("name", "")
        return Attempt(
            operation, kind, call.namespace, name, call.subresource, thing, old, call.user, call.dry_run, given,
            call.warnings, lambda each: strategies.settled(self._api, kind, each)[0],
        )  # fmt: skip

    async def admit_deletion(self, call: Call, old: Object) -> None:
        """Webhooks may refuse a deletion."""
        attempt = self._attempt(call, "DELETE", None, old, "DeleteOptions")
        await strategies.admit(self._api, attempt)
        await self._api.admission.mutate(attempt)
        await self._api.admission.validate(attempt)

    async def _to_storage(self, kind: Kind, thing: Object) -> Object:
        if kind.plural == "events":
            return events.stored(thing)
        if kind.crd is None or thing["apiVersion"] == kind.storage_api_version:
            return thing
        return (await self._api.conversion.convert(kind, [thing], kind.storage_api_version))[0]

    async def _from_storage(self, kind: Kind, thing: Object) -> Object:
        if kind.plural == "events":
            return events.shown(thing, kind)
        if kind.crd is None or thing["apiVersion"] == kind.api_version:
            return thing
        return (await self._api.conversion.convert(kind, [thing], kind.api_version))[0]

    async def _shown(self, call: Call, stored: Stored, code: int = 200) -> Reply:
        (body,) = await self._api.reads.encoded(call.kind, [stored])
        return Reply(code, body)

    def place(self, call: Call) -> Place:
        return self._api.place(call)


SCHEME = "pkg/api/legacyscheme/scheme.go:30"


def _not_of_kind(kind: Kind, name: str) -> str:
    """What the server says of a body of another kind of the same group."""
    group = kind.group.partition(".")[0] or "core"
    converting = f"converting ({kind.version}.{name}) to ({group}.{kind.kind}): unknown conversion"
    return f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}: {converting}'


KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
CREATED_ON_UPDATE = frozenset(
    ("leases endpoints events limitranges services clusterroles clusterrolebindings roles rolebindings").split()  # noqa: SIM905 - words read better
)
