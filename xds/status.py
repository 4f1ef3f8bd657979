"""What people and metrics are told about connected proxies: in step, behind, or refusing, with Envoy's words.

Rule: values only, made when asked for; the streams pay nothing for them beyond a few counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kube.durations import Durations
from xds.dialogue import Dialogue
from xds.machine import Machine
from xds.resource import TYPE_PREFIX


class State(StrEnum):
    """How one type of one proxy stands."""

    NEVER = "never"
    """Asked for, never sent: nothing of it exists, or the pod is not known yet."""
    PENDING = "pending"
    """Sent, and the answer is awaited."""
    SYNCED = "synced"
    """All there is was sent and acknowledged."""
    STALE = "stale"
    """Newer configuration waits behind an answer that is awaited."""
    REJECTED = "rejected"
    """The proxy refused something and goes on with what it had."""


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One type of one proxy. `error` are Envoy's words about `resources`, the names it refused."""

    state: State
    version: str
    nonce: str
    error: str
    resources: tuple[str, ...]
    subscribed: int
    """Explicit names; -1 for everything there is."""
    pushes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """One stream of a proxy. `connected` is seconds since the epoch; `types` is keyed by the type's short name."""

    node: str
    connected: float
    protocol: str
    identity: str
    known: bool
    """Whether the World has this pod; until then it is answered nothing."""
    types: Mapping[str, TypeStatus]


@dataclass(slots=True)
class Counters:
    """What the server has done so far. The keys of the first five are type URLs."""

    pushes: Counter[str] = field(default_factory=Counter)
    """Responses sent; one response to ten streams counts ten."""
    bytes: Counter[str] = field(default_factory=Counter)
    resources: Counter[str] = field(default_factory=Counter)
    """Resources in those responses."""
    removals: Counter[str] = field(default_factory=Counter)
    nacks: Counter[str] = field(default_factory=Counter)
    convergence: Durations = field(default_factory=Durations)
    """From a change being seen until a proxy has acknowledged all that followed for it."""
    requests: int = 0
    streams: int = 0
    """Streams that were let in."""
    refused: Counter[str] = field(default_factory=Counter)
    """Streams that were not, by gRPC status."""
    ended: Counter[str] = field(default_factory=Counter)
    """Streams we ended, by gRPC status."""


def type_status(machine: Machine[Any], dialogue: Dialogue) -> TypeStatus:
    """How this type stands on its stream."""
    last = dialogue.last
    refused = tuple(dialogue.refused) or tuple(name for trial in dialogue.trials for name in trial)
    return TypeStatus(
        state=_state(machine, dialogue),
        version=last.version if last is not None else "",
        nonce=last.nonce if last is not None else "",
        error=dialogue.error,
        resources=refused,
        subscribed=-1 if dialogue.interest.wildcard else len(dialogue.interest.names),
        pushes=dialogue.pushes,
        bytes=dialogue.bytes_pushed,
    )


def short_name(type_url: str) -> str:
    """`Cluster`, `Listener`, …, as people say it; a type URL of somebody else's as it is."""
    return type_url.rsplit(".", 1)[-1] if type_url.startswith(TYPE_PREFIX) else type_url


def _state(machine: Machine[Any], dialogue: Dialogue) -> State:
    if dialogue.error:
        return State.REJECTED
    if dialogue.last is None and not dialogue.resumed:
        return State.NEVER
    behind = machine.view is None or bool(machine.offered(dialogue).differing(dialogue.held))
    if behind or dialogue.gated_since is not None:
        return State.STALE
    return State.PENDING if dialogue.sent is not None else State.SYNCED
