"""What became of a pod's containers: when each began and ended, and with which code.

Rule: no I/O and no time of its own; it is told, and remembers the last two runs of each container, as a pod's status
shows them (core/v1 ContainerStatus: `state` and `lastState`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container. `ended` and `code` are None while it lasts; a negative code is a signal's number."""

    began: datetime
    ended: datetime | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one container: how often it began, the last one, and the one before."""

    count: int = 0
    last: Run | None = None
    before: Run | None = None

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.last is not None and self.last.ended is None


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """A container as its pod's status needs it. `started`: its startup probe has succeeded."""

    runs: Runs = Runs()
    started: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True)
class PodReport:
    """A pod as its status needs it. `waiting` is what it waits for, a sentence or empty.

    `networked`: it has a network of its own.
    """

    phase: str = "Pending"
    address: str = ""
    networked: bool = False
    waiting: str = ""
    containers: Mapping[str, ContainerReport] = field(default_factory=dict)


class History:
    """The runs of one pod's containers, by container."""

    def __init__(self) -> None:
        self._runs: dict[str, Runs] = {}

    def of(self, container: str) -> Runs:
        """The runs of a container, none where it never began."""
        return self._runs.get(container, Runs())

    def began(self, container: str, at: datetime) -> None:
        """A container was started."""
        former = self.of(container)
        self._runs[container] = Runs(former.count + 1, Run(at), former.last)

    def ended(self, container: str, at: datetime, code: int) -> None:
        """The run that lasts is over."""
        former = self.of(container)
        if former.last is not None and former.running:
            self._runs[container] = replace(former, last=replace(former.last, ended=at, code=code))
