"""One pod of the API server on this node: begun, told of, ended, until the API server has it no more.

Rule: level-triggered. Each time something has changed it looks at the pod as the API server has it and as it lives
here, and does the next thing; what could not be done is tried again.
Source: Kubernetes page "Pod Lifecycle" ("Termination of Pods").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock
from kube.events import EventWriter, Regarding, Said
from kube.objects import RawDocument
from kube.problem import Ref
from local.history import PodReport
from local.kubelet.plan import Refused, plan_of
from local.kubelet.status import ENDED, Scene, began, failed, pod_status
from local.lives import Lives
from local.pod import PodLife
from local.settings import Event
from local.workloads import PodKey

RETRY = 1.0
"""Seconds until what failed is tried again."""

STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Site:
    """What a pod needs of its node. `named` gives a pod's names, `folder` is where its containers start."""

    client: Client
    clock: Clock
    lives: Lives
    address: str
    folder: Path
    named: Callable[[PodLife], None]
    observe: Callable[[Event], object]
    events: EventWriter


class KeptPod:
    """The pod with this uid. `tell` it what the API server says, `wake` it when something here has changed.

    `refusal` is why it can't run here, or empty.
    """

    def __init__(self, document: RawDocument, node: Site) -> None:
        metadata = document["metadata"]
        self.key = PodKey(metadata["namespace"], metadata["name"])
        self.uid: str = metadata["uid"]
        self._node = node
        self._document: RawDocument | None = document
        self._pod: PodLife | None = None
        self._written: RawDocument = document.get("status") or {}
        self._earlier = began(self._written)
        self.refusal = ""
        self._grace: float | None = None
        self._deleted = False
        self._said = ""
        self._woken = asyncio.Event()

    def tell(self, document: RawDocument | None) -> None:
        """The API server has this pod now; None: it has it no more."""
        self._document = document
        self.wake()

    def wake(self) -> None:
        """Look again."""
        self._woken.set()

    async def run(self) -> None:
        """Keep the pod until the API server has it no more and nothing of it is left here."""
        while self._document is not None or self._alive:
            self._woken.clear()
            try:
                await self._step()
            except (ApiError, ApiUnavailable) as error:
                self._put_off(error)
            if self._document is not None or self._alive:
                await self._woken.wait()

    async def withdraw(self) -> None:
        """Say that the pod is not ready any more, since its node ends. Raises ApiError and ApiUnavailable."""
        if self._pod is not None and self._alive and self._document is not None:
            report = self._pod.report()
            unready = {name: replace(each, ready=False) for name, each in report.containers.items()}
            await self._write(self._status(self._document, replace(report, containers=unready), over=False))

    @property
    def _alive(self) -> bool:
        return self._pod is not None and self._node.lives.get(self.key) is self._pod

    async def _step(self) -> None:
        document = self._document
        if document is None:
            # Deleted by force: nobody waits for it.
            if self._alive:
                self._node.lives.kill(self.key)
            return
        deleting = bool(document["metadata"].get("deletionTimestamp"))
        if deleting:
            self._end(float(document["metadata"].get("deletionGracePeriodSeconds") or 0))
        elif self._is_over(document):
            self._end(None)
        elif not self._alive and not self.refusal:
            await self._begin(document)
        await self._report(document, deleting=deleting)
        if deleting and not self._alive and not self._deleted:
            await self._delete()

    def _is_over(self, document: RawDocument) -> bool:
        """Whether it has ended by itself, and the API server knows."""
        return self._written.get("phase") in ENDED or (document.get("status") or {}).get("phase") in ENDED

    async def _begin(self, document: RawDocument) -> None:
        node = self._node
        if node.lives.get(self.key) is not None:
            return  # one of the same name is still ending
        once = document["spec"].get("restartPolicy", "Always") != "Always"
        if once and self._pod is None and any(self._earlier.values()):
            # Its containers may not start again, and ran before the node ended.
            scene = self._scene(over=True)
            await self._write(failed(document, "NodeRestarted", "weft up ended while it ran", scene))
            return
        try:
            plan = plan_of(document, node.folder)
        except Refused as refused:
            self.refusal = str(refused)
            node.observe(Event(f"Pod {self.key}", "problem", self.refusal))
            return
        if self._pod is not None:
            self._earlier = began(self._written)
        self._pod = node.lives.start(plan)
        node.named(self._pod)

    def _end(self, grace: float | None) -> None:
        """Stop what runs; a deletion may come again with less grace."""
        pod = self._pod
        if pod is None or not self._alive:
            return
        if not pod.stopping:
            self._grace = grace
            pod.stop(grace)
        elif grace is not None and self._grace is not None and grace < self._grace:
            self._grace = grace
            asyncio.get_running_loop().call_later(grace, self._kill, pod)

    def _kill(self, pod: PodLife) -> None:
        if self._node.lives.get(self.key) is pod:
            self._node.lives.kill(self.key)

    async def _report(self, document: RawDocument, *, deleting: bool) -> None:
        over = not self._alive and (self._pod is not None or deleting)
        if self._written.get("phase") in ENDED or (self._pod is None and not self.refusal and not deleting):
            return
        report = self._pod.report() if self._pod is not None else PodReport()
        restarting = over and not deleting and report.phase not in ENDED
        if not restarting:
            await self._write(self._status(document, report, over=over))
            await self._explain(self.refusal or report.waiting)

    async def _explain(self, why: str) -> None:
        """An Event for `kubectl describe`, which shows no condition's message."""
        if why and why != self._said:
            regarding = Regarding(Ref("Pod", self.key.namespace, self.key.name), "v1", self.uid)
            reason = "CannotRunHere" if self.refusal else "Waiting"
            await self._node.events.tell(regarding, Said(reason, "Run", why), self._node.clock.now(), 1)
        self._said = why

    def _status(self, document: RawDocument, report: PodReport, *, over: bool) -> RawDocument:
        return pod_status(document, report, self._scene(over=over))

    def _scene(self, *, over: bool) -> Scene:
        node = self._node
        return Scene(node.address, node.clock.now(), self._written, self._earlier, over, self.refusal)

    async def _write(self, status: RawDocument) -> None:
        if all(self._written.get(name) == value for name, value in status.items()):
            return
        patch = {"metadata": {"uid": self.uid}, "status": status}
        try:
            await self._node.client.request("PATCH", f"{self._path}/status", body=patch, content_type=STRATEGIC)
        except ApiError as error:
            if error.code not in {404, 409}:  # it is gone, or another by now: the watch will say so
                raise
        self._written = {**self._written, **status}

    async def _delete(self) -> None:
        options = {
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": self.uid},
        }  # fmt: skip
        try:
            await self._node.client.request("DELETE", self._path, body=options)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
        self._deleted = True

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.key.namespace}/pods/{self.key.name}"

    def _put_off(self, error: Exception) -> None:
        if isinstance(error, ApiError):
            self._node.observe(Event(f"Pod {self.key}", "not told", error.message))
        asyncio.get_running_loop().call_later(RETRY, self.wake)
