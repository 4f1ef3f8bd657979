"""How it stands between us and the API server: which kinds are in step, and since when there is no answer.

Rule: what is said here changes nothing in what is served; it is for people and for the decision to begin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class KindState:
    """One kind. `why`: what keeps it from being in step, in the server's words; empty while it is.

    `read` is false until all its objects were read once, or the API server said that it has no such kind.
    """

    read: bool = False
    served: bool = True
    why: str = ""
    since: datetime | None = None


@dataclass(slots=True)
class Upstream:
    """All kinds of one source. Written by it, read by the admin API and the metrics."""

    now: Callable[[], datetime]
    kinds: dict[str, KindState] = field(default_factory=dict)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The kinds that were never read yet; nothing is served before there are none."""
        return tuple(sorted(kind for kind, state in self.kinds.items() if not state.read))

    @property
    def stale_since(self) -> datetime | None:
        """Since when some kind may be older than what the API server has; None while all are in step."""
        return min((state.since for state in self.kinds.values() if state.since), default=None)

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by kind."""
        return {kind: state.why for kind, state in sorted(self.kinds.items()) if state.why}

    def in_step(self, kind: str) -> bool:
        """The kind was read whole, and is followed. Whether it was in trouble before."""
        state = self.kinds[kind]
        recovered = bool(state.why)
        state.read, state.served, state.why, state.since = True, True, "", None
        return recovered

    def absent(self, kind: str) -> None:
        """The server has no such kind, so there is nothing to wait for."""
        state = self.kinds[kind]
        state.read, state.served, state.why, state.since = True, False, "", None

    def out_of_step(self, kind: str, why: str) -> bool:
        """An attempt failed. Whether this is news."""
        state = self.kinds[kind]
        news = not state.why
        state.why, state.since = why, state.since or self.now()
        return news
