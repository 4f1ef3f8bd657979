"""What the API server says of a pod's namespace, where other meshes' marks have to be read there.

Rule: asked anew for every pod, so that a mark counts from the moment it is set; when no answer comes, the last one
counts, and where there is none the question stays unanswered (the webhook's fail policy decides).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Protocol

from kube.client import ApiError, ApiUnavailable
from webhook.decision import NamespaceView

SECONDS: Final = 2.0
"""How long the API server may take; it waits for us meanwhile."""

REMEMBERED: Final = 10_000
"""Namespaces whose last answer is kept."""


class Asks(Protocol):
    """As much of kube.client.Client as is needed."""

    async def request(self, method: str, path: str, *, seconds: float) -> Any:
        """The decoded answer. Raises ApiError and ApiUnavailable."""


class Namespaces:
    """Looks namespaces up. It remembers the newest answers for bad times, a bounded number of them."""

    def __init__(self, client: Asks) -> None:
        self._client = client
        self._last: OrderedDict[str, NamespaceView] = OrderedDict()

    async def view(self, name: str) -> NamespaceView:
        """The namespace's labels and annotations. Raises ApiError and ApiUnavailable."""
        try:
            document = await self._client.request("GET", f"/api/v1/namespaces/{name}", seconds=SECONDS)
        except (ApiError, ApiUnavailable):
            if name not in self._last:
                raise
            return self._last[name]
        metadata = document.get("metadata") or {}
        found = NamespaceView(name, metadata.get("labels") or {}, metadata.get("annotations") or {})
        self._last[name] = found
        self._last.move_to_end(name)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        return found
