"""Events on objects, as `kubectl describe` shows them: one for each thing to say, counted when it happens again.

Rule: an Event's name is made of what it says about whom, so that replicas and restarts find the one that is there.
Source: Kubernetes API reference, events.k8s.io/v1 Event; validation as in the API server (note at most 1,024 bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from kube.client import ApiError, Client
from kube.problem import Ref

GROUP: Final = "/apis/events.k8s.io/v1"
CONTROLLER: Final = "weft.dev/control-plane"
LONGEST_NOTE: Final = 1024
LONGEST_INSTANCE: Final = 128
LONGEST_PREFIX: Final = 200
"""Characters of an object's name in an Event's."""
HOME: Final = "default"
"""The namespace of Events about objects that live in none."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object an Event is about. `kubectl describe` looks for its uid, too."""

    ref: Ref
    api_version: str
    uid: str


@dataclass(frozen=True, slots=True)
class Said:
    """What an Event says. `reason` and `action` are words for machines, `note` is a sentence for people."""

    reason: str
    action: str
    note: str


class EventWriter:
    """Writes Events of type Warning in the name of `controller`. `instance` tells which replica of it."""

    def __init__(self, client: Client, instance: str, controller: str = CONTROLLER) -> None:
        self._client = client
        self._controller = controller
        self._instance = instance[:LONGEST_INSTANCE]

    async def tell(self, regarding: Regarding, said: Said, now: datetime, count: int) -> None:
        """Write the Event, which happened for the `count`-th time. Raises ApiError and ApiUnavailable.

        A first time that another replica has told already, or we before a restart, stays as it is.
        """
        collection = f"{GROUP}/namespaces/{regarding.ref.namespace or HOME}/events"
        event = self._event(regarding, said, now)
        path = f"{collection}/{event['metadata']['name']}"
        if count > 1 and await self._unless({404}, "PATCH", path, _series(count, now)):
            return
        await self._unless({409}, "POST", collection, event)

    async def _unless(self, codes: set[int], method: str, path: str, body: dict[str, Any]) -> bool:
        """Whether the request succeeded; False for a refusal with one of these codes."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            await self._client.request(method, path, body=body, content_type=kind)
        except ApiError as error:
            if error.code in codes:
                return False
            raise
        return True

    def _event(self, regarding: Regarding, said: Said, now: datetime) -> dict[str, Any]:
        ref = regarding.ref
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": event_name(regarding, said), "namespace": ref.namespace or HOME},
            "eventTime": _micro_time(now),
            "type": "Warning",
            "reason": said.reason,
            "action": said.action,
            "note": shortened(said.note),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": regarding.api_version,
                "kind": ref.kind,
                "namespace": ref.namespace,
                "name": ref.name,
                "uid": regarding.uid,
            },
        }


def event_name(regarding: Regarding, said: Said) -> str:
    """The same for the same words about the same object."""
    parts = (*regarding.ref, regarding.uid, said.reason, said.note)
    digest = blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
    return f"{regarding.ref.name[:LONGEST_PREFIX].rstrip('.-')}.{digest}"


def shortened(note: str) -> str:
    """As much of the note as an Event can hold; Envoy's words may be long."""
    encoded = note.encode()
    if len(encoded) <= LONGEST_NOTE:
        return note
    return encoded[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"


def _series(count: int, now: datetime) -> dict[str, Any]:
    return {"series": {"count": count, "lastObservedTime": _micro_time(now)}}


def _micro_time(moment: datetime) -> str:
    """metav1.MicroTime."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
