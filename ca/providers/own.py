"""Weft's own issuers as a provider: they sign until the roots of another provider have reached every proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from cryptography import x509

from ca.issuance import Expired, Issuance
from ca.providers.provider import ProviderError, Wanted
from ca.settling import Issuers
from kube.clock import Clock


class OwnIssuers:
    """Signs with the intermediate in use; implements ca.providers.provider.Provider."""

    name = "weft"
    at_once = 1

    def __init__(self, issuers: Callable[[], Issuers], trust_domain: str, leaf: timedelta, clock: Clock) -> None:
        self._issuers = issuers
        self._trust_domain = trust_domain
        self._leaf = leaf
        self._clock = clock

    async def roots(self) -> Sequence[x509.Certificate]:
        """Those in the bundle."""
        return self._issuers().roots

    async def sign(self, wanted: Wanted) -> bytes:
        """As Provider says."""
        issuance = Issuance(self._issuers().intermediate, self._trust_domain, self._leaf, lambda: 0.5)
        try:
            return issuance.certified(wanted.identity, wanted.request.public_key(), self._clock.now())
        except Expired as error:
            raise ProviderError(str(error)) from error

    async def close(self) -> None:
        """Nothing is held."""
