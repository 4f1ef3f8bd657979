"""What a person got wrong, as a value that travels to that person. Rule: a user's mistake is never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """An error takes effect away from what it names; a warning only says that something looks wrong."""

    ERROR = "error"
    WARNING = "warning"


class Ref(NamedTuple):
    """Names one Kubernetes object. `namespace` is empty for cluster-scoped kinds. A tuple, since those hash fast."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The place in a folder of manifests an object was read from; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, what is wrong, and what follows from it.

    `field` is a path as kubectl prints it (`spec.backends[1].weight`), empty when the object as a whole is meant.
    `rule` is the rule of docs/smi.md that decides (`T6`, `F2`, `A9`), or a short word such as `decode`.
    `message` is a sentence for the person who wrote the object, and says what happens instead.
    """

    object: Ref
    field: str
    message: str
    rule: str
    severity: Severity = Severity.ERROR
    origin: Origin | None = None

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        field = f" {self.field}:" if self.field else ":"
        return f"{where}{self.object}{field} {self.message} [{self.rule}]"
