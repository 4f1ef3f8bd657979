"""What a cluster does by itself: namespaces with their defaults, and garbage collection. Rule: it acts after the write.

Source: Kubernetes pages "Namespaces", "Garbage Collection"; kube-controller-manager's namespace, serviceaccount,
root-ca-cert-publisher and garbagecollector controllers.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.fakes import deletion
from tests.fakes.kinds import Key, Kind, storage_key
from tests.fakes.storage import Event, Object, Place, Stored, copied, place_of

if TYPE_CHECKING:
    from tests.fakes.api import Api

NAMESPACES: Key = ("", "namespaces")
ACCOUNTS: Key = ("", "serviceaccounts")
CONFIG_MAPS: Key = ("", "configmaps")
ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = "kubernetes.io/description"
WHAT_FOR = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class System:
    """Listens to the store and keeps house."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._owned: dict[str, set[tuple[Key, Place]]] = {}
        self._live: set[str] = set()
        api.store.listeners.append(self._heard)

    def create(self, kind: str, metadata: Object, group: str = "", **body: object) -> Stored:
        """Store an object of the cluster's own."""
        found = self._api.kinds.named(group, kind)
        assert found is not None, kind
        stamp = {"uid": str(uuid.uuid4()), "creationTimestamp": self._api.now()}
        thing = {"kind": kind, "apiVersion": found.api_version, "metadata": {**metadata, **stamp}, **body}
        return self._api.store.create(storage_key(found), thing)

    def kind_at(self, key: Key) -> Kind:
        """A served version of what is stored at `key`."""
        return self._api.kinds.versions(key)[0]

    def drop_finalizer(self, key: Key, read: Stored, name: str) -> None:
        """Remove a finalizer; the last one lets a deleted object go."""
        metadata = dict(read.object["metadata"])
        metadata["finalizers"] = [each for each in metadata.get("finalizers") or [] if each != name]
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        self.rewrite(key, read, {**read.object, "metadata": metadata})

    def rewrite(self, key: Key, read: Stored, thing: Object) -> None:
        """Replace what was read, and delete it when nothing holds it any more."""
        if thing["metadata"].get("deletionTimestamp") and deletion.is_over(self.kind_at(key), thing):
            self._api.store.delete(key, self._api.store.replace(key, thing, read))
        elif thing != read.object:
            self._api.store.replace(key, thing, read)

    def _heard(self, key: Key, event: Event) -> None:
        metadata = event.after.object["metadata"]
        self._index(key, event)
        if key == NAMESPACES and event.type != "DELETED":
            self._api.soon(self._namespace, metadata["name"])
        if event.type == "DELETED":
            if metadata.get("namespace"):
                self._api.soon(self._namespace, metadata["namespace"])
            self._api.soon(self._collect, metadata["uid"])
            for owner in metadata.get("ownerReferences") or []:
                self._api.soon(self._unblock, owner["uid"])
        elif metadata.get("deletionTimestamp"):
            self._api.soon(self._propagate, key, place_of(event.after.object))
        elif metadata.get("ownerReferences"):
            self._api.soon(self._check_owners, key, place_of(event.after.object))

    def _index(self, key: Key, event: Event) -> None:
        thing = event.after.object
        here = (key, place_of(thing))
        for owner in (event.before.object if event.before else {}).get("metadata", {}).get("ownerReferences") or []:
            self._owned.get(owner["uid"], set()).discard(here)
        if event.type == "DELETED":
            self._live.discard(thing["metadata"]["uid"])
            return
        self._live.add(thing["metadata"]["uid"])
        for owner in thing["metadata"].get("ownerReferences") or []:
            self._owned.setdefault(owner["uid"], set()).add(here)

    # --- namespaces

    def _namespace(self, name: str) -> None:
        read = self._api.store.get(NAMESPACES, ("", name))
        if read is None:
            return
        if read.object["metadata"].get("deletionTimestamp"):
            self._empty(name, read)
            return
        if self._api.store.get(ACCOUNTS, (name, "default")) is None:
            self.create("ServiceAccount", {"name": "default", "namespace": name})
        if self._api.store.get(CONFIG_MAPS, (name, ROOT_CA)) is None:
            metadata: Object = {"name": ROOT_CA, "namespace": name, "annotations": {DESCRIPTION: WHAT_FOR}}
            self.create("ConfigMap", metadata, data={"ca.crt": self._api.ca_pem})

    def _empty(self, name: str, read: Stored) -> None:
        left = False
        for key, place, stored in self._api.store.items():
            if place[0] != name:
                continue
            left = True
            if not stored.object["metadata"].get("deletionTimestamp"):
                self._api.writes.deletion.marked(self.kind_at(key), stored, {})
                left = self._api.store.get(key, place) is not None or left
        if not left or not any(place[0] == name for _key, place, _stored in self._api.store.items()):
            spec = {**read.object.get("spec", {}), "finalizers": []}
            self.rewrite(NAMESPACES, read, {**read.object, "spec": spec})

    # --- garbage

    def _check_owners(self, key: Key, place: Place) -> None:
        """An object none of whose owners exists is garbage. Of a kind that is not served, nobody can tell."""
        read = self._api.store.get(key, place)
        owners = read.object["metadata"].get("ownerReferences") or [] if read else []
        if read and owners and not any(each["uid"] in self._live or self._unknown(each) for each in owners):
            self._api.writes.deletion.marked(self.kind_at(key), read, {})

    def _unknown(self, owner: Object) -> bool:
        group, _, version = owner["apiVersion"].rpartition("/")
        return self._api.kinds.named(group, owner["kind"], version) is None

    def _collect(self, owner: str) -> None:
        for key, place in sorted(self._owned.get(owner, ())):
            self._check_owners(key, place)

    def _propagate(self, key: Key, place: Place) -> None:
        """Foreground and orphan finalizers of an object that is being deleted."""
        read = self._api.store.get(key, place)
        if read is None:
            return
        metadata = read.object["metadata"]
        finalizers = metadata.get("finalizers") or []
        if deletion.ORPHAN in finalizers:
            for below, where in sorted(self._owned.get(metadata["uid"], ())):
                self._orphan(below, where, metadata["uid"])
            self.drop_finalizer(key, read, deletion.ORPHAN)
        elif deletion.FOREGROUND in finalizers:
            for below, where in sorted(self._owned.get(metadata["uid"], ())):
                found = self._api.store.get(below, where)
                if found and not found.object["metadata"].get("deletionTimestamp"):
                    options = {"propagationPolicy": "Foreground"} if self._dependents(found) else {}
                    self._api.writes.deletion.marked(self.kind_at(below), found, options)
            if not self._dependents(read):
                self.drop_finalizer(key, read, deletion.FOREGROUND)

    def _dependents(self, stored: Stored) -> bool:
        return bool(self._owned.get(stored.object["metadata"]["uid"]))

    def _orphan(self, key: Key, place: Place, owner: str) -> None:
        read = self._api.store.get(key, place)
        if read is None:
            return
        thing = copied(read.object)
        kept = [each for each in thing["metadata"]["ownerReferences"] if each["uid"] != owner]
        thing["metadata"]["ownerReferences"] = kept
        if not kept:
            del thing["metadata"]["ownerReferences"]
        self._api.store.replace(key, thing, read)

    def _unblock(self, owner: str) -> None:
        """The last dependent of an object that is deleted in the foreground is gone."""
        if self._owned.get(owner):
            return
        for key, place, stored in self._api.store.items():
            metadata = stored.object["metadata"]
            if metadata["uid"] == owner and metadata.get("deletionTimestamp"):
                self._propagate(key, place)
