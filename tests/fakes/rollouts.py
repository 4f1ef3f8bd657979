"""Deployments and ReplicaSets. Rule: pods are made through admission, as a controller's writes are.

Source: Kubernetes page "Deployments"; kubernetes/pkg/controller/{deployment,replicaset}.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from tests.fakes.endpoint_slices import is_ready
from tests.fakes.hooks import User
from tests.fakes.kinds import Key, Kind
from tests.fakes.requests import Call, Request
from tests.fakes.storage import Object, Place, Stored, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api

DEPLOYMENTS: Key = ("apps", "deployments")
REPLICA_SETS: Key = ("apps", "replicasets")
PODS: Key = ("", "pods")
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HAS_ENOUGH = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
HAS_TOO_FEW = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object) -> str:
    """Ten letters that stand for a pod template."""
    number = int.from_bytes(hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()[:8], "big")
    text = ""
    for _ in range(10):
        number, at = divmod(number, len(LETTERS))
        text += LETTERS[at]
    return text


def share(value: Any, total: int, *, up: bool) -> int:
    """A number, or a percentage of `total`."""
    if isinstance(value, str):
        part = total * int(value.rstrip("%")) / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value)


class Rollouts:
    """Brings ReplicaSets in line with Deployments, and pods with ReplicaSets."""

    def __init__(self, api: Api) -> None:
        self._api = api

    # --- Deployments

    async def deployment(self, place: Place) -> None:
        """One step of a rollout; what it changes leads to the next."""
        stored = self._api.store.get(DEPLOYMENTS, place)
        if stored is None or stored.object["metadata"].get("deletionTimestamp"):
            return
        deployment = stored.object
        new, old = await self._sets(deployment)
        if not deployment["spec"].get("paused"):
            self._scale_all(deployment, new, old)
        new, old = await self._sets(deployment)
        self._report(stored, new, old)

    async def _sets(self, deployment: Object) -> tuple[Stored, list[Stored]]:
        """The ReplicaSet of the present template (made if there is none) and the older ones."""
        metadata = deployment["metadata"]
        owned = [
            each
            for each in self._api.store.all(REPLICA_SETS, metadata["namespace"])
            if _owns(metadata["uid"], each.object)
        ]
        mark = template_hash(deployment["spec"]["template"])
        new = next((each for each in owned if each.object["metadata"]["labels"].get(HASH) == mark), None)
        if new is None:
            new = await self._new_set(deployment, mark, len(owned) + 1)
        return new, [each for each in owned if each is not new]

    async def _new_set(self, deployment: Object, mark: str, revision: int) -> Stored:
        spec, metadata = deployment["spec"], deployment["metadata"]
        template = copied(spec["template"])
        template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH: mark}
        selector = copied(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: mark}
        annotations = {REVISION: str(revision)}
        thing: Object = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{mark}",
                "namespace": metadata["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [owner_of(deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        return await self._create(REPLICA_SETS, thing, "deployment-controller")

    def _scale_all(self, deployment: Object, new: Stored, old: list[Stored]) -> None:
        spec = deployment["spec"]
        wanted, strategy = spec["replicas"], spec["strategy"]
        if strategy["type"] == "Recreate":
            for each in old:
                self._scale(each, 0)
            if not any(_count(each, "replicas") for each in old):
                self._scale(new, wanted)
            return
        surge, lost = _limits(spec)
        total = _wants(new) + sum(_wants(each) for each in old)
        grown = min(wanted, _wants(new) + max(0, wanted + surge - total)) if _wants(new) < wanted else wanted
        self._scale(new, grown)
        spare = sum(_available(each) for each in [new, *old]) - (wanted - lost)
        for each in old:
            sick = max(0, _wants(each) - _available(each))
            healthy = max(0, min(_available(each), spare))
            spare -= healthy
            self._scale(each, _wants(each) - sick - healthy)

    def _scale(self, read: Stored, replicas: int) -> None:
        if _wants(read) == replicas:
            return
        metadata = {**read.object["metadata"]}
        metadata["generation"] = metadata.get("generation", 0) + 1
        spec = {**read.object["spec"], "replicas": replicas}
        self._api.store.replace(REPLICA_SETS, {**read.object, "metadata": metadata, "spec": spec}, read)

    def _report(self, stored: Stored, new: Stored, old: list[Stored]) -> None:
        deployment = stored.object
        wanted = deployment["spec"]["replicas"]
        every = [new, *old]
        available = sum(_available(each) for each in every)
        counts = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": sum(_count(each, "replicas") for each in every),
            "updatedReplicas": _count(new, "replicas"),
            "readyReplicas": sum(_count(each, "readyReplicas") for each in every),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(_wants(each) for each in every) - available),
        }
        done = counts["updatedReplicas"] == wanted == available == counts["replicas"]
        status = {name: value for name, value in counts.items() if value}
        enough = available >= wanted - _limits(deployment["spec"])[1]
        which = f'ReplicaSet "{new.object["metadata"]["name"]}"'
        status["conditions"] = [
            self._condition(deployment, "Available", *(HAS_ENOUGH if enough else HAS_TOO_FEW)),
            self._condition(
                deployment, "Progressing", "True", "NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
                f"{which} has successfully progressed." if done else f"{which} is progressing.",
            ),
        ]  # fmt: skip
        annotations = {**(deployment["metadata"].get("annotations") or {})}
        annotations[REVISION] = new.object["metadata"]["annotations"][REVISION]
        metadata = {**deployment["metadata"], "annotations": annotations}
        thing = {**deployment, "metadata": metadata, "status": status}
        if thing != deployment:
            self._api.store.replace(DEPLOYMENTS, thing, stored)

    def _condition(self, deployment: Object, kind: str, holds: str, reason: str, message: str) -> Object:
        said = {"type": kind, "status": holds, "reason": reason, "message": message}
        for each in deployment.get("status", {}).get("conditions") or []:
            if all(each.get(name) == value for name, value in said.items()):
                found: Object = each
                return found
        now = self._api.now()
        return {**said, "lastUpdateTime": now, "lastTransitionTime": now}

    # --- ReplicaSets

    async def replica_set(self, place: Place) -> None:
        """As many pods as it asks for."""
        stored = self._api.store.get(REPLICA_SETS, place)
        if stored is None or stored.object["metadata"].get("deletionTimestamp"):
            return
        mine = self._pods(stored.object)
        alive = [each for each in mine if not each.object["metadata"].get("deletionTimestamp")]
        missing = stored.object["spec"].get("replicas", 1) - len(alive)
        if missing > 0:
            made = [self._create(PODS, _pod(stored.object), "replicaset-controller") for _ in range(missing)]
            failed = [
                each for each in await asyncio.gather(*made, return_exceptions=True) if isinstance(each, Exception)
            ]
            self._count_pods(place, str(failed[0]) if failed else "")
            if failed:
                raise failed[0]
            return
        kind = self._api.kinds.find("", "v1", "pods")
        assert kind is not None
        for each in sorted(alive, key=lambda pod: is_ready(pod.object))[: max(0, -missing)]:
            self._api.writes.deletion.marked(kind, each, {})
        self._count_pods(place)

    def _pods(self, owner: Object) -> list[Stored]:
        metadata = owner["metadata"]
        found = self._api.store.all(PODS, metadata["namespace"])
        live = [each for each in found if _owns(metadata["uid"], each.object)]
        return [each for each in live if each.object.get("status", {}).get("phase") not in {"Succeeded", "Failed"}]

    def _count_pods(self, place: Place, failure: str = "") -> None:
        stored = self._api.store.get(REPLICA_SETS, place)
        if stored is None:
            return
        alive = [each for each in self._pods(stored.object) if not each.object["metadata"].get("deletionTimestamp")]
        ready = sum(is_ready(each.object) for each in alive)
        status: Object = {"replicas": len(alive), "observedGeneration": stored.object["metadata"]["generation"]}
        for name, count in (
            ("fullyLabeledReplicas", len(alive)),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
        ):
            if count:
                status[name] = count
        if failure:
            status["conditions"] = [self._failure(stored.object, failure)]
        if status != stored.object.get("status"):
            self._api.store.replace(REPLICA_SETS, {**stored.object, "status": status}, stored)

    def _failure(self, replica_set: Object, message: str) -> Object:
        """The condition that says why pods can't be made."""
        said = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        for each in replica_set.get("status", {}).get("conditions") or []:
            if each.get("message") == message:
                found: Object = each
                return found
        return {**said, "lastTransitionTime": self._api.now()}

    async def _create(self, key: Key, thing: Object, controller: str) -> Stored:
        """Create as a controller does: admission is asked."""
        kind = self._api.kinds.find(key[0], "v1", key[1])
        assert kind is not None
        return await self._api.writes.created(call_of(kind, thing["metadata"]["namespace"], controller), thing)


def _limits(spec: Object) -> tuple[int, int]:
    """How many pods more, and how many fewer, a rollout may have."""
    rolling = spec["strategy"].get("rollingUpdate")
    if rolling is None:
        return 0, 0
    surge = share(rolling.get("maxSurge", "25%"), spec["replicas"], up=True)
    lost = share(rolling.get("maxUnavailable", "25%"), spec["replicas"], up=False)
    return surge, lost if surge or lost else 1


def call_of(kind: Kind, namespace: str, controller: str) -> Call:
    """A controller's request to create something."""
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
    user = User(f"system:serviceaccount:kube-system:{controller}", groups)
    request = Request("POST", "", {}, {"user-agent": "kube-controller-manager/v1.36.2"}, b"")
    return Call(request, user, "create", kind, namespace, "", "")


def _pod(owner: Object) -> Object:
    template = copied(owner["spec"]["template"])
    metadata = {name: template["metadata"][name] for name in ("labels", "annotations") if name in template["metadata"]}
    metadata |= {
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_of(owner)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def owner_of(thing: Object) -> Object:
    """The owner reference that a controller sets."""
    return {
        "apiVersion": thing["apiVersion"], "kind": thing["kind"], "name": thing["metadata"]["name"],
        "uid": thing["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def _owns(uid: str, thing: Object) -> bool:
    return any(each["uid"] == uid for each in thing["metadata"].get("ownerReferences") or [])


def _wants(replica_set: Stored) -> int:
    return int(replica_set.object["spec"].get("replicas", 1))


def _count(replica_set: Stored, name: str) -> int:
    return int(replica_set.object.get("status", {}).get(name, 0))


def _available(replica_set: Stored) -> int:
    return min(_count(replica_set, "availableReplicas"), _wants(replica_set))
