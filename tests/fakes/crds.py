"""CustomResourceDefinitions: established at once, removed with their objects. Rule: Kinds follows the store.

Source: Kubernetes page "CustomResourceDefinitions"; apiextensions-apiserver (establish, finalizer, naming).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.kinds import Key, Kind
from tests.fakes.storage import Event, Object, Stored, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api

CRDS: Key = ("apiextensions.k8s.io", "customresourcedefinitions")
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def kinds_of(crd: Object) -> list[Kind]:
    """The served versions of a custom kind."""
    spec = crd["spec"]
    names = spec["names"]
    storage = next(each["name"] for each in spec["versions"] if each.get("storage"))
    return [
        Kind(
            spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced",
            singular=names.get("singular") or names["kind"].lower(), list_kind=names.get("listKind", ""),
            short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()),
            subresources=tuple(sorted(version.get("subresources") or ())), storage_version=storage, crd=crd,
        )
        for version in spec["versions"]
        if version.get("served")
    ]  # fmt: skip


class Crds:
    """Keeps what is served in step with the CRDs that are stored."""

    def __init__(self, api: Api) -> None:
        self._api = api
        api.store.listeners.append(self._heard)

    def _heard(self, key: Key, event: Event) -> None:
        if key == CRDS:
            if event.type == "DELETED":
                self._removed(event.after.object)
            else:
                self._api.soon(self._settle, event.after)
        elif event.type == "DELETED" and self._api.store.get(CRDS, ("", f"{key[1]}.{key[0]}")):
            self._api.soon(self._finish, key)

    def _settle(self, heard: Stored) -> None:
        crd = heard.object
        place = ("", crd["metadata"]["name"])
        if self._api.store.get(CRDS, place) is not heard:
            return
        if crd["metadata"].get("deletionTimestamp"):
            self._clear(crd)
            return
        status = self._status(crd)
        if status != crd.get("status"):
            self._api.store.replace(CRDS, {**crd, "status": status}, heard)
        else:
            self._api.kinds.replace((crd["spec"]["group"], crd["spec"]["names"]["plural"]), kinds_of(crd))

    def _status(self, crd: Object) -> Object:
        status = copied(crd.get("status") or {})
        stored = list(status.get("storedVersions") or [])
        storage = next(each["name"] for each in crd["spec"]["versions"] if each.get("storage"))
        if storage not in stored:
            stored.append(storage)
        if not status.get("conditions"):
            now = self._api.now()
            status["conditions"] = [
                _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
                _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
            ]
        return {**status, "acceptedNames": crd["spec"]["names"], "storedVersions": stored}

    def _clear(self, crd: Object) -> None:
        """Delete the objects of a kind that goes; its CRD goes after the last one."""
        key = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        kinds = self._api.kinds.versions(key)
        for stored in self._api.store.all(key):
            if kinds and not stored.object["metadata"].get("deletionTimestamp"):
                self._api.writes.deletion.marked(kinds[0], stored, {})
        self._finish(key)

    def _finish(self, key: Key) -> None:
        read = self._api.store.get(CRDS, ("", f"{key[1]}.{key[0]}"))
        if read is None or not read.object["metadata"].get("deletionTimestamp") or self._api.store.all(key):
            return
        self._api.system.drop_finalizer(CRDS, read, CLEANUP)

    def _removed(self, crd: Object) -> None:
        key = (crd["spec"]["group"], crd["spec"]["names"]["plural"])
        self._api.kinds.replace(key, [])
        self._api.store.forget(key)


def _condition(kind: str, reason: str, message: str, now: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}


def terminating(crd: Object, now: str) -> Object:
    """A CRD whose deletion begins."""
    metadata = dict(crd["metadata"])
    metadata["finalizers"] = list(dict.fromkeys([*(metadata.get("finalizers") or []), CLEANUP]))
    said = "CustomResource deletion is in progress"
    status = copied(crd.get("status") or {})
    others = [each for each in status.get("conditions") or [] if each["type"] != "Terminating"]
    status["conditions"] = [*others, _condition("Terminating", "InstanceDeletionInProgress", said, now)]
    return {**crd, "metadata": metadata, "status": status}
