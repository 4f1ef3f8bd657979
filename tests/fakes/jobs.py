"""Pods of Jobs. Rule: a Job counts what became of its pods, and makes as many as are missing.

Source: Kubernetes page "Jobs"; kubernetes/pkg/controller/job. Only non-indexed Jobs; no back-off between failed pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.endpoint_slices import is_ready
from tests.fakes.kinds import Key
from tests.fakes.rollouts import PODS, call_of, owner_of
from tests.fakes.storage import Object, Place, Stored, copied

if TYPE_CHECKING:
    from tests.fakes.api import Api

JOBS: Key = ("batch", "jobs")


class Jobs:
    """Brings pods in line with Jobs."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def job(self, place: Place) -> None:
        """Make the pods that are missing, then say how far the Job is."""
        stored = self._api.store.get(JOBS, place)
        if stored is None or stored.object["metadata"].get("deletionTimestamp") or _has_ended(stored.object):
            return
        job = stored.object
        spec = job["spec"]
        done, failed, active = self._pods(job)
        kind = self._api.kinds.find("", "v1", "pods")
        assert kind is not None
        missing = min(spec["parallelism"], spec["completions"] - len(done)) - len(active)
        if not spec.get("suspend") and len(failed) <= spec["backoffLimit"]:
            for _ in range(missing):
                await self._api.writes.created(call_of(kind, place[0], "job-controller"), _pod(job))
        self._report(place)

    def _pods(self, job: Object) -> tuple[list[Stored], list[Stored], list[Stored]]:
        """The pods that succeeded, that failed, and the others."""
        uid = job["metadata"]["uid"]
        found: tuple[list[Stored], list[Stored], list[Stored]] = ([], [], [])
        for pod in self._api.store.all(PODS, job["metadata"]["namespace"]):
            if any(each["uid"] == uid for each in pod.object["metadata"].get("ownerReferences") or []):
                phase = pod.object.get("status", {}).get("phase")
                found[{"Succeeded": 0, "Failed": 1}.get(phase, 2)].append(pod)
        return found

    def _report(self, place: Place) -> None:
        stored = self._api.store.get(JOBS, place)
        if stored is None:
            return
        job = stored.object
        done, failed, active = self._pods(job)
        status: Object = {"startTime": job.get("status", {}).get("startTime", self._api.now()), "terminating": 0}
        status["ready"] = sum(is_ready(each.object) for each in active)
        for name, pods in (("active", active), ("succeeded", done), ("failed", failed)):
            if pods:
                status[name] = len(pods)
        if len(done) >= job["spec"]["completions"]:
            status["completionTime"] = self._api.now()
            status["conditions"] = [
                self._ended("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
            ]
        elif len(failed) > job["spec"]["backoffLimit"]:
            said = "Job has reached the specified backoff limit"
            status["conditions"] = [self._ended("Failed", "BackoffLimitExceeded", said)]
        if status != job.get("status"):
            self._api.store.replace(JOBS, {**job, "status": status}, stored)

    def _ended(self, kind: str, reason: str, message: str) -> Object:
        now = self._api.now()
        said = {"type": kind, "status": "True", "reason": reason, "message": message}
        return {**said, "lastProbeTime": now, "lastTransitionTime": now}


def _has_ended(job: Object) -> bool:
    return any(each["type"] in {"Complete", "Failed"} for each in job.get("status", {}).get("conditions") or [])


def _pod(job: Object) -> Object:
    template = copied(job["spec"]["template"])
    metadata = {name: template["metadata"][name] for name in ("labels", "annotations") if name in template["metadata"]}
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    metadata |= {"generateName": f"{name}-", "namespace": namespace, "ownerReferences": [owner_of(job)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
