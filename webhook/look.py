"""A look at the cluster's objects while one object is checked: whether what it refers to is there.

Rule: it only ever adds warnings. A look that takes too long, or is not allowed, ends all looking for this object, which
is then judged by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from kube.client import ApiError, ApiUnavailable
from kube.objects import Service
from mesh.alone import UnseenError
from smi.decode import read
from smi.definitions import DEFINITIONS
from smi.resources import Anything
from webhook.namespaces import Asks

T = TypeVar("T", bound=Anything)

SECONDS: Final = 1.0
"""How long all looks for one object may take together: the API server waits for our answer."""

GRACE: Final = 0.2
"""Seconds more for the event loop to say that the time is over."""

MOST: Final = 32
"""The most objects that are looked for, for one object."""

_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    Service.__name__: ("/api/v1", "services"),
    **{each.kind: (f"/apis/{each.group}/{each.stored}", each.plural) for each in DEFINITIONS},
}


class Look:
    """One look, used from a thread beside the client's event loop. Makes `mesh.alone.Cluster`."""

    def __init__(self, client: Asks, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._client, self._loop, self._clock = client, loop, clock
        self._end = clock() + SECONDS
        self._left = MOST

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object, None where it is not there. Raises UnseenError where that can't be told."""
        left = self._end - self._clock()
        self._left -= 1
        if left <= 0 or self._left < 0:
            raise UnseenError
        base, plural = _PATHS[kind.__name__]
        asked = self._client.request("GET", f"{base}/namespaces/{namespace}/{plural}/{name}", seconds=left)
        try:
            document: Any = asyncio.run_coroutine_threadsafe(asked, self._loop).result(left + GRACE)
        except ApiError as error:
            if error.code == 404:
                return None
            raise UnseenError from error
        except (ApiUnavailable, TimeoutError) as error:
            raise UnseenError from error
        found = read(document).object if isinstance(document, dict) else None
        if not isinstance(found, kind):
            raise UnseenError
        return found


def looks(client: Asks) -> Callable[[], Look]:
    """Makes a look for each object. To be called on the client's event loop."""
    loop = asyncio.get_running_loop()
    return lambda: Look(client, loop, time.monotonic)
