"""Who was refused too often lately: an address that brings bad tokens waits before its next one is looked at.

Rule: a proxy that does everything right never waits, and no number of strangers makes this grow without bound.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from xds.peer import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalSettings:
    """How much is forgiven. `burst` refusals at once and `per_second` more for each address; 10,000 addresses known."""

    burst: int = 10
    per_second: float = 0.5
    addresses: int = 10_000


@dataclass(slots=True)
class _Account:
    """How many refusals an address has left, and when that was worked out."""

    left: float
    at: float


class Refusals:
    """A token bucket for each address (without its port: a caller picks a new one each time).

    `now` gives seconds of a clock that never jumps. Ask `wait` before a token is looked at, tell `refused` after it
    was found to prove nothing. Use it from one thread.
    """

    def __init__(self, settings: RefusalSettings | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or RefusalSettings()
        self._now = now
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self.by_reason: Counter[Reason] = Counter()
        """Refusals so far, by reason."""
        self.turned_away = 0
        """Callers that were not even asked, because of those refused before at their address."""

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now. One that must wait is counted."""
        account = self._accounts.get(address)
        if account is None:
            return 0.0
        self._refill(account)
        if account.left >= 1:
            return 0.0
        self.turned_away += 1
        return (1 - account.left) / self._settings.per_second

    def refused(self, address: str, reason: Reason) -> None:
        """A caller at this address was refused for this reason."""
        self.by_reason[reason] += 1
        account = self._accounts.get(address)
        if account is None:
            account = self._accounts[address] = _Account(self._settings.burst, self._now())
            while len(self._accounts) > self._settings.addresses:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(address)
        self._refill(account)
        account.left = max(0.0, account.left - 1)

    def _refill(self, account: _Account) -> None:
        now = self._now()
        account.left = min(self._settings.burst, account.left + (now - account.at) * self._settings.per_second)
        account.at = now


def address_of(peer: str) -> str:
    """The address in `10.0.0.1:5000` or `[::1]:5000`; what is neither stays as it is."""
    address, colon, _ = peer.rpartition(":")
    return address.strip("[]") if colon else peer
