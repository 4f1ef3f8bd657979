"""A leaf asked for by an object in Kubernetes: made, waited for until a controller has answered, and removed.

Rule: nothing of ours stays behind; what a process that was killed left is removed by whoever looks next.
Source: Kubernetes API concepts; API reference, metav1.ObjectMeta (generateName, creationTimestamp).
"""

from __future__ import annotations

import binascii
import contextlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ca.providers.provider import ProviderError
from kube.client import ApiError, ApiUnavailable, Client
from kube.clock import Clock

LABEL: Final = "weft.dev/leaf-request"
IDENTITY: Final = "weft.dev/identity"
"""An annotation, for people."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
SWEEP: Final = 600.0
"""Seconds between two looks for what was left behind."""
NOT_FOUND: Final = 404

_CONDITION: Final = ("type", "status", "reason", "message")

Object = dict[str, Any]
Answer = Callable[[Object], bytes | None]
"""What a controller has signed by now, PEM; None: it has not answered yet. Raises ProviderError for a refusal."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of an object's status."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def words(self) -> str:
        """Why, for people."""
        return ": ".join(filter(None, (self.reason, self.message))) or "no reason was given"


class RequestObjects:
    """One collection of such objects. `patience` is how many seconds a controller, or who approves, may take."""

    def __init__(self, client: Client, collection: str, patience: float, clock: Clock) -> None:
        self._client = client
        self._collection = collection
        self._patience = patience
        self._clock = clock
        self._swept = float("-inf")

    async def fulfilled(self, body: Object, identity: str, answer: Answer) -> bytes:
        """What was signed for this object, which has no metadata yet. Raises ProviderError."""
        labels = {"app.kubernetes.io/part-of": "weft", LABEL: "true"}
        metadata = {"generateName": "weft-", "labels": labels, "annotations": {IDENTITY: identity}}
        with _in_words(self._collection):
            made = await self._client.request("POST", self._collection, body={**body, "metadata": metadata})
            path = f"{self._collection}/{made['metadata']['name']}"
            try:
                return await self._answered(path, made, answer)
            finally:
                await self._remove(path)

    async def sweep(self) -> None:
        """Remove what was left behind long ago, now and then. Raises ProviderError."""
        if self._clock.passed() - self._swept < SWEEP:
            return
        with _in_words(self._collection):
            found = await self._client.request("GET", self._collection, query={"labelSelector": f"{LABEL}=true"})
            old = self._clock.now() - timedelta(seconds=max(SWEEP, 2 * self._patience))
            for each in found.get("items") or ():
                metadata = each["metadata"]
                if datetime.fromisoformat(metadata["creationTimestamp"]) < old:
                    await self._remove(f"{self._collection}/{metadata['name']}")
        self._swept = self._clock.passed()

    async def _answered(self, path: str, made: Object, answer: Answer) -> bytes:
        end, pause, found = self._clock.passed() + self._patience, FIRST_PAUSE, made
        while True:
            signed = answer(found)
            if signed is not None:
                return signed
            if self._clock.passed() >= end:
                waited = "approved" if not _is_approved(found) else "signed"
                raise ProviderError(f"{path} was not {waited} within {self._patience:g} s{_told(found)}")
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            found = await self._client.request("GET", path)

    async def _remove(self, path: str) -> None:
        """What can't be removed now is removed by a sweep."""
        with contextlib.suppress(ApiError, ApiUnavailable):
            await self._client.request("DELETE", path)


def conditions(found: Object) -> dict[str, Condition]:
    """The conditions of an object, by their types."""
    listed = status(found).get("conditions")
    every = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    read = (Condition(*(str(each.get(key) or "") for key in _CONDITION)) for each in every)
    return {each.type: each for each in read}


def status(found: Object) -> Object:
    """What a controller wrote; nothing where that is no map."""
    written = found.get("status")
    return written if isinstance(written, dict) else {}


def decoded(text: object, where: str) -> bytes:
    """Bytes that stand in an object as base64. Raises ProviderError."""
    try:
        return b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProviderError(f"{where} is no base64") from error


@contextlib.contextmanager
def _in_words(collection: str) -> Any:
    try:
        yield
    except (ApiError, ApiUnavailable) as error:
        hint = ""
        if isinstance(error, ApiError) and error.code == NOT_FOUND:
            hint = " (is there such a resource in this cluster?)"
        raise ProviderError(f"{collection} can't be used: {error}{hint}") from error


def _is_approved(found: Object) -> bool:
    approved = conditions(found).get("Approved")
    return approved is not None and approved.status == "True"


def _told(found: Object) -> str:
    """What its controller said last."""
    said = [each.words for each in conditions(found).values() if each.status != "True" and each.message]
    return f": {said[-1]}" if said else ""
