"""Keeps the roots of other meshes up to date: reads who they are, fetches their bundles, tells what changed.

Rule: the last good bundle stays until there is a better one or its trust domain is taken out of the file; a file that
can't be read changes nothing. What is wrong is told once, and shown as long as it lasts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from ca.federation import FederationError, Partner, Profile, endpoint, fetch, read_file, read_partners
from ca.spiffe_bundle import BadBundle, Bundle, read_bundle
from kube.clock import SYSTEM_CLOCK, Clock

PAUSE: Final = 5.0
"""Seconds between two looks at files, and at which endpoint is due."""
SOONEST, LATEST, RETRY = timedelta(seconds=10), timedelta(days=1), timedelta(seconds=60)
"""Bounds of how often an endpoint is asked, and when again after it failed."""
AT_ONCE: Final = 4

Foreign = tuple[tuple[str, str], ...]
"""Other trust domains with their roots, PEM."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """What is known of a partner. `due`: when its endpoint is to be asked, in seconds of the clock."""

    bundle: Bundle | None = None
    due: float = 0.0
    fetched: datetime | None = None
    trouble: str = ""


class Federation:
    """Other meshes, by a file that is read again when it changes. `tell` is given all of them when any changed."""

    def __init__(
        self,
        file: Path,
        tell: Callable[[Foreign], Awaitable[None]],
        clock: Clock = SYSTEM_CLOCK,
        web: ssl.SSLContext | None = None,
    ) -> None:
        """`web` knows the authorities of the web's profile, where those are not the system's."""
        self._file = file
        self._tell = tell
        self._clock = clock
        self._web = web
        self._partners: tuple[Partner, ...] = ()
        self._known: dict[str, _Known] = {}
        self._told: Foreign = ()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.trouble = ""
        """What is wrong with the file."""

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(PAUSE)

    async def look(self) -> None:
        """Read what is to be read, ask whom it is time to ask, and tell what has changed."""
        await self._read()
        await asyncio.gather(*(self._refresh(partner) for partner in self._partners))
        foreign = tuple(
            (name, known.bundle.roots)
            for name, known in sorted(self._known.items())
            if known.bundle is not None and known.bundle.roots
        )
        if foreign != self._told:
            await self._tell(foreign)
            self._told = foreign
            log.info("federation", trust_domains=[name for name, _ in foreign])

    def view(self) -> list[dict[str, Any]]:
        """Each partner with how many roots it has, when they were fetched, and what is wrong. JSON values."""
        return [
            {
                "trust_domain": name,
                "roots": known.bundle.roots.count("BEGIN CERTIFICATE") if known.bundle is not None else 0,
                "sequence": known.bundle.sequence if known.bundle is not None else None,
                "fetched": known.fetched.isoformat() if known.fetched is not None else None,
                "trouble": known.trouble,
            }
            for name, known in sorted(self._known.items())
        ]

    async def _read(self) -> None:
        try:
            partners = read_partners(await asyncio.to_thread(read_file, self._file))
        except (FederationError, BadBundle) as error:
            if str(error) != self.trouble:
                log.error("the file of other meshes can't be used, those of before stay", reason=str(error))
            self.trouble = str(error)
            return
        self.trouble = ""
        before = {partner.trust_domain: partner for partner in self._partners}
        self._partners = partners
        # Another endpoint is another authority: nothing of the one before is kept.
        self._known = {
            each.trust_domain: self._known[each.trust_domain] if before.get(each.trust_domain) == each else _Known()
            for each in partners
        }

    async def _refresh(self, partner: Partner) -> None:
        known = self._known[partner.trust_domain]
        if partner.url and self._clock.passed() < known.due:
            return
        trouble = ""
        try:
            if partner.file and known.fetched is None:
                known.bundle = await self._from_file(partner, known.bundle)
            if partner.url:
                await self._ask(partner, known)
        except (FederationError, BadBundle) as error:
            trouble = f"the bundle of {partner.trust_domain} {error}"
        except Exception as error:
            # Whatever another mesh made us stumble over costs its bundle, and not the control plane.
            log.exception("a bundle could not be looked at", trust_domain=partner.trust_domain)
            trouble = f"the bundle of {partner.trust_domain} can't be looked at: {type(error).__name__}"
        if trouble:
            known.due = self._clock.passed() + RETRY.total_seconds()
            if trouble != known.trouble:
                log.warning("the bundle of another mesh can't be had, the last one stays", reason=trouble)
        known.trouble = trouble

    async def _from_file(self, partner: Partner, before: Bundle | None) -> Bundle | None:
        """The bundle in the partner's file. Without one the web's endpoints can still be asked, others not."""
        try:
            return read_bundle(await asyncio.to_thread(read_file, self._file.parent / partner.file))
        except (FederationError, BadBundle):
            if partner.profile is not None and partner.profile.type is Profile.HTTPS_WEB:
                return before
            raise

    async def _ask(self, partner: Partner, known: _Known) -> None:
        """Fetch the bundle. Raises FederationError and BadBundle."""
        place = endpoint(partner, known.bundle.roots if known.bundle is not None else "")
        async with self._turns:
            bundle = read_bundle(await asyncio.to_thread(fetch, place, self._web))
        before = known.bundle.sequence if known.bundle is not None and known.fetched is not None else None
        if before is not None and bundle.sequence is not None and bundle.sequence < before:
            raise FederationError(f"went back from sequence {before} to {bundle.sequence}")
        pause = min(max(bundle.refresh, SOONEST), LATEST)
        known.bundle, known.fetched = bundle, self._clock.now()
        known.due = self._clock.passed() + pause.total_seconds()
