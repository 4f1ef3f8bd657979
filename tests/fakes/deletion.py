"""Deletion: grace, finalizers, propagation. Rule: an object leaves the store only when nobody holds it any more.

Source: k8s.io/apiserver/pkg/registry/rest/delete.go, registry/store.go; Kubernetes page "Garbage Collection".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.fakes import crds, errors, reads
from tests.fakes.kinds import Kind, storage_key, words
from tests.fakes.requests import Call, Reply, decoded
from tests.fakes.storage import Object, StaleError, Stored, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api
    from tests.fakes.writes import Writer

RETURNED = words("namespaces pods services serviceaccounts resourcequotas persistentvolumeclaims")
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def is_over(kind: Kind, thing: Object) -> bool:
    """Whether an object that is being deleted can go now."""
    metadata = thing["metadata"]
    if metadata.get("finalizers"):
        return False
    if kind.key == ("", "namespaces"):
        return not thing.get("spec", {}).get("finalizers")
    if kind.key == ("", "pods"):
        return not metadata.get("deletionGracePeriodSeconds")
    return True


def delete_options(call: Call) -> Object:
    """DeleteOptions from the body and the query."""
    options: Object = {}
    if call.request.body.strip():
        body = decoded(call.request.body, call.request.headers.get("content-type", "application/json"))
        if not isinstance(body, dict):
            raise errors.bad_request("json: cannot unmarshal into Go value of type v1.DeleteOptions")
        options = {**body}
    if grace := call.query.get("gracePeriodSeconds"):
        options["gracePeriodSeconds"] = int(grace)
    if policy := call.query.get("propagationPolicy"):
        options["propagationPolicy"] = policy
    wanted = options.get("propagationPolicy")
    if wanted not in {None, "Foreground", "Background", "Orphan"}:
        text = f'Unsupported value: "{wanted}": supported values: "Foreground", "Background", "Orphan", "nil"'
        cause = errors.Cause("propagationPolicy", text, "FieldValueNotSupported")
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return options


class Deleter:
    """Answers DELETE of one object and of collections."""

    def __init__(self, api: Api, writer: Writer) -> None:
        self._api = api
        self._writer = writer

    async def delete(self, call: Call) -> Reply:
        options = delete_options(call)
        for _ in range(6):
            read = self._api.store.get(storage_key(call.kind), self._api.place(call))
            if read is None:
                raise errors.not_found(call.kind.group, call.kind.plural, call.name)
            try:
                return await self._delete_once(call, read, options)
            except StaleError:
                continue
        raise errors.conflict(call.kind.group, call.kind.plural, call.name)

    async def _delete_once(self, call: Call, read: Stored, options: Object) -> Reply:
        kind = call.kind
        _check_preconditions(call, read.object, options.get("preconditions") or {})
        await self._writer.admit_deletion(call, read.object)
        if call.dry_run or options.get("dryRun"):
            left = read if read.object["metadata"].get("finalizers") else None
        else:
            left = self.marked(kind, read, options)
        if left is not None:
            return await self._shown(call, left)
        if kind.plural in RETURNED:
            return await self._shown(call, read)
        return Reply.json(errors.success(kind.group, kind.plural, call.name, read.object["metadata"]["uid"]))

    def marked(self, kind: Kind, read: Stored, options: Object) -> Stored | None:
        """Begin or finish the deletion; what is left of the object, or None when it is gone."""
        store, key = self._api.store, storage_key(kind)
        metadata = dict(read.object["metadata"])
        metadata["finalizers"] = _finalizers(metadata, options.get("propagationPolicy"))
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        grace = _grace(kind, read.object, options)
        if metadata.get("deletionTimestamp"):
            grace = min(grace, metadata.get("deletionGracePeriodSeconds", 0))
        else:
            metadata["deletionTimestamp"] = _later(self._api, grace)
            if "generation" in metadata:
                metadata["generation"] += 1
        if kind.plural not in {"namespaces", "customresourcedefinitions"}:
            metadata["deletionGracePeriodSeconds"] = grace
        thing: Object = {**read.object, "metadata": metadata}
        if kind.key == ("", "namespaces"):
            thing = {**thing, "status": {**thing.get("status", {}), "phase": "Terminating"}}
        if kind.plural == "customresourcedefinitions":
            thing = crds.terminating(thing, self._api.now())
        if is_over(kind, thing):
            store.delete(key, read)
            return None
        if thing == read.object:
            return read
        return store.replace(key, copied(thing), read)

    async def delete_all(self, call: Call) -> Reply:
        """deletecollection: everything the selectors select."""
        options = delete_options(call)
        chosen = reads.selection(call)
        key = storage_key(call.kind)
        found = [each for each in self._api.store.all(key, call.namespace) if chosen.holds(each)]
        for each in found:
            await self._writer.admit_deletion(call, each.object)
            now = self._api.store.get(
                key, (each.object["metadata"].get("namespace", ""), each.object["metadata"]["name"])
            )
            if now is not None and not call.dry_run:
                self.marked(call.kind, now, options)
        items = await self._api.reads.encoded(call.kind, found, of_list=True)
        return Reply(200, reads.list_document(call.kind, {"resourceVersion": str(self._api.store.version)}, items))

    async def _shown(self, call: Call, stored: Stored) -> Reply:
        (body,) = await self._api.reads.encoded(call.kind, [stored])
        return Reply(200, body)


def _check_preconditions(call: Call, thing: Object, wanted: Object) -> None:
    metadata = thing["metadata"]
    for field, name, said in (("uid", "uid", "UID"), ("resourceVersion", "resourceVersion", "ResourceVersion")):
        if wanted.get(field) and wanted[field] != metadata[name]:
            happened = "deleted and then recreated" if field == "uid" else "modified"
            differs = f"the {said} in the precondition ({wanted[field]}) does not match"
            why = f"{differs} the {said} in record ({metadata[name]}). The object might have been {happened}"
            raise errors.conflict(call.kind.group, call.kind.kind, call.name, why)


def _finalizers(metadata: Object, policy: str | None) -> list[str]:
    found = list(metadata.get("finalizers") or [])
    if policy is None:
        return found
    found = [each for each in found if each not in {FOREGROUND, ORPHAN}]
    if policy == "Foreground":
        found.append(FOREGROUND)
    elif policy == "Orphan":
        found.append(ORPHAN)
    return found


def _grace(kind: Kind, thing: Object, options: Object) -> int:
    """Seconds until the object may go: only pods that a kubelet runs have any."""
    if kind.key != ("", "pods") or not thing["spec"].get("nodeName"):
        return 0
    if thing.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        grace = thing["spec"].get("terminationGracePeriodSeconds", 0)
    return int(grace) if grace >= 0 else 1


def _later(api: Api, seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(api.clock() + seconds))
