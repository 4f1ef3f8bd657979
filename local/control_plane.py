"""The control plane as a process of the node, beside the pods. Rule: it is started again when it ends."""

from __future__ import annotations

from collections.abc import Callable

from local.process import answers, keep_running
from local.settings import ClusterSettings, Event
from proxy import ports


class ControlPlaneProcess:
    """The command that the settings name, if any. `pid` is its process while it runs, as the node numbers it."""

    def __init__(self, settings: ClusterSettings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self.pid: int | None = None

    async def run(self) -> None:
        """Keep it running until cancelled."""
        if self._settings.control_plane:
            log = self._settings.state / "logs" / "control-plane.log"
            log.parent.mkdir(exist_ok=True)
            await keep_running(self._settings.control_plane, log, "control plane", self._told)

    async def answers(self, address: str, within: float) -> None:
        """Wait, `within` seconds at most, until sidecars would find it."""
        if self._settings.control_plane:
            await answers(address, ports.XDS, within)

    def _told(self, event: Event, pid: int) -> None:
        self.pid = pid if event.what == "started" else None
        self._settings.observe(event)
        self._changed()
