"""One document while it is read: typed access to its parts, and the Problems found on the way.

Rule: every getter either returns what was written or files a Problem with the field's exact path and returns nothing;
a part that had one is not `sound`, and the caller decides what an unsound part still means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kube.decode import Locate, described, no_text, ref_of, sentence
from kube.names import shown
from kube.objects import RawDocument
from kube.problem import Origin, Problem, Severity


@dataclass(slots=True)
class Reading:
    """One SMI object being read."""

    raw: RawDocument
    locate: Locate
    problems: list[Problem] = field(default_factory=list)

    @property
    def version(self) -> str:
        """The version, e.g. `v1alpha3`."""
        return str(self.raw["apiVersion"]).rpartition("/")[2]

    def identity(self) -> dict[str, Any]:
        """What all SMI objects have, as keyword arguments; their names have been checked before."""
        ref, created = ref_of(self.raw), self.raw["metadata"].get("creationTimestamp")
        return {
            "namespace": ref.namespace,
            "name": ref.name,
            "api_version": self.raw["apiVersion"],
            "created": created if isinstance(created, str) else "",
            "origin": self.origin,
        }

    @property
    def origin(self) -> Origin | None:
        """Where the object begins."""
        return self.locate("")

    def error(self, path: str, message: str, rule: str) -> None:
        """File a mistake that has an effect; `message` is a whole sentence."""
        self.problems.append(Problem(ref_of(self.raw), path, message, rule, origin=self.locate(path)))

    def warn(self, path: str, message: str, rule: str) -> None:
        """File something that only looks wrong."""
        warning = Problem(ref_of(self.raw), path, message, rule, Severity.WARNING, self.locate(path))
        self.problems.append(warning)

    def top(self, rule: str, effect: str) -> Part:
        """The whole document as a part."""
        return Part(self, self.raw, "", rule, effect)


@dataclass(slots=True)
class Part:
    """A map inside a document. `value` None: it is not there or no map, which has been said already.

    `rule` and `effect` go into the Problems of this part: what decides, and what happens instead.
    """

    reading: Reading
    value: Mapping[str, Any] | None
    path: str
    rule: str
    effect: str
    sound: bool = True

    def at(self, key: str) -> str:
        """The path of a field of this part."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> Any:
        """A field as written; None where it is not there or null, which mean the same in Kubernetes."""
        return None if self.value is None else self.value.get(key)

    def refuse(self, key: str, fault: str) -> None:
        """File a Problem about a field: `fault` is the rest of a sentence about it."""
        self.refuse_at(self.at(key), fault)

    def refuse_at(self, path: str, fault: str) -> None:
        """The same for a path of any depth."""
        self.sound = False
        self.reading.error(path, sentence(fault, self.effect), self.rule)

    def text(self, key: str, *, required: bool = False) -> str | None:
        """A text."""
        written = self.get(key)
        if written is None or (required and written == ""):
            if required and self.value is not None:
                self.refuse(key, "is missing")
            return None
        if isinstance(written, str):
            return written
        self.refuse(key, no_text(written))
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, none of them empty; None where it is not there or not sound."""
        written = self.items(key)
        if written is None:
            return None
        wrong = [index for index, item in enumerate(written) if not isinstance(item, str) or not item]
        for index in wrong:
            self.refuse_at(f"{self.at(key)}[{index}]", no_text(written[index] or None))
        return None if wrong else tuple(written)

    def items(self, key: str) -> list[Any] | None:
        """A list of anything."""
        written = self.get(key)
        if written is None or isinstance(written, list):
            return written
        self.refuse(key, f"must be a list, not {described(written)}")
        return None

    def part(self, key: str, rule: str = "", effect: str = "", *, required: bool = False) -> Part:
        """A map, with its own rule and effect where those differ."""
        written = self.get(key)
        if written is None and required and self.value is not None:
            self.refuse(key, "is missing")
        elif written is not None and not isinstance(written, dict):
            self.refuse(key, f"must be a map, not {described(written)}")
            written = None
        return Part(self.reading, written, self.at(key), rule or self.rule, effect or self.effect, self.sound)

    def parts(self, key: str, rule: str = "", effect: str = "") -> Iterator[Part]:
        """The maps of a list, in order; what is no map is there as an unsound part without a value."""
        for index, written in enumerate(self.items(key) or ()):
            item = Part(self.reading, None, f"{self.at(key)}[{index}]", rule or self.rule, effect or self.effect)
            if isinstance(written, dict):
                item.value = written
            else:
                item.refuse_at(item.path, f"must be a map, not {described(written)}")
            yield item

    def port(self, key: str) -> int | None:
        """A port number, also as digits in quotes, as old clients write it (rule V9)."""
        written = self.get(key)
        if written is None:
            return None
        number = port_number(written)
        if number is None:
            self.refuse(key, f"must be a port number from 1 to 65535, not {short(written)}")
        return number

    def only(self, known: Iterable[str]) -> None:
        """File a Problem for each field nobody knows: it might have been meant to narrow the part down."""
        for key in self._unknown(known):
            self.refuse(key, f"is no field here{_meant(key, known)}")

    def ignore_others(self, known: Iterable[str]) -> None:
        """Warn of each field nobody knows."""
        for key in self._unknown(known):
            self.reading.warn(
                self.at(key), sentence(f"is no field here{_meant(key, known)}", "it is ignored"), self.rule
            )

    def _unknown(self, known: Iterable[str]) -> list[str]:
        return [key for key, written in (self.value or {}).items() if written is not None and key not in known]


def port_number(written: object) -> int | None:
    """A port number, as a number or as digits; None where it is neither or out of range."""
    if isinstance(written, str) and written.isascii() and written.isdecimal() and len(written) <= 5:
        written = int(written)
    if isinstance(written, bool) or not isinstance(written, int | float) or not 1 <= written <= 65535:
        return None
    return int(written) if written == int(written) else None


def short(written: object) -> str:
    """A value inside a sentence."""
    if isinstance(written, dict | list) or written is None:
        return described(written)
    return shown(written) if isinstance(written, str) else shown(str(written)).strip("'")


def _meant(key: str, known: Iterable[str]) -> str:
    """A guess at what a misspelt field was meant to be."""
    near = {_plain(name): name for name in known}.get(_plain(key))
    return f" (did you mean {near}?)" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").removesuffix("s").removesuffix("e")
