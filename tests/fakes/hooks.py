"""Where schemas, admission webhooks and conversion join the server. Rule: the core knows nothing else of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes.errors import Cause
from tests.fakes.kinds import Kind

Object = dict[str, Any]


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)


@dataclass
class Attempt:
    """One write as admission sees it; a mutating hook replaces `object`."""

    operation: str  # CREATE, UPDATE, DELETE or CONNECT
    kind: Kind  # as requested
    namespace: str
    name: str  # empty while generateName has not been used
    subresource: str
    object: Object | None
    old: Object | None
    user: User
    dry_run: bool
    options: Object  # CreateOptions, UpdateOptions, PatchOptions or DeleteOptions
    warnings: list[str]  # sent as Warning headers
    settle: Callable[[Object], Object]  # prune and default again after a change


class Schemas(Protocol):
    """Structural schemas of custom kinds. All three are pure; `kind.crd` is the CustomResourceDefinition."""

    def settle(self, kind: Kind, thing: Object) -> tuple[Object, list[str]]:
        """Prune and default `thing` (which may be changed); also the paths of the pruned fields, like `spec.foo`."""

    def problems(self, kind: Kind, thing: Object, old: Object | None) -> Sequence[Cause]:
        """What breaks the schema."""


class Admission(Protocol):
    """Mutating and validating webhooks. A refusal is an errors.StatusError."""

    async def mutate(self, attempt: Attempt) -> None:
        """Change attempt.object."""

    async def validate(self, attempt: Attempt) -> None:
        """Raise when refused."""


class Conversion(Protocol):
    """Conversion of custom objects between versions."""

    async def convert(self, kind: Kind, objects: Sequence[Object], api_version: str) -> list[Object]:
        """`objects` in `api_version`, in order; raises errors.StatusError."""
