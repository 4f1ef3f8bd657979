"""A ResourceSet: what is offered of one type at one moment, with what many streams ask of it again and again.

Rule: immutable, and compared by being the same object. What streams derive from it (a subset by names, the difference
from an older set, a Plan) is worked out once and shared by all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import filterfalse
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from mesh.remember import differing
from xds.resource import Resource

if TYPE_CHECKING:
    from xds.wire import Response

ALL: Final = "*"
"""In a set of names: everything there is (the wildcard of the xDS protocol)."""
REMEMBERED_PLANS: Final = 64
"""Per pair of sets; more would be clients that each ask for something else."""
NO_NAMES: Final[frozenset[str]] = frozenset()
EVERYTHING: Final = frozenset({ALL})
PART_BYTES: Final = 1024 * 1024
"""An incremental response with more than this is sent in parts (rule R70)."""
GREETING: Final = ""
"""In a set of names asked for: an answer, even with nothing in it. No resource has an empty name."""
NOT_NAMES: Final = frozenset({ALL, GREETING})


class ResourceSet:
    """Resources of one type by name. Do not change `named` after handing it over."""

    __slots__ = (
        "__weakref__", "_differing", "_last_plan", "_last_subset", "_mark", "_plans", "_root", "_subsets", "_version",
        "named", "type_url",
    )  # fmt: skip

    def __init__(self, type_url: str, named: Mapping[str, Resource], root: ResourceSet | None = None) -> None:
        self.type_url = type_url
        self.named = named
        self._root = root
        self._version = ""
        self._mark: int | None = None
        self._subsets: WeakValueDictionary[frozenset[str], ResourceSet] | None = None
        self._differing: WeakKeyDictionary[ResourceSet, tuple[str, ...]] | None = None
        self._plans: WeakKeyDictionary[ResourceSet, dict[frozenset[str], Plan]] | None = None
        # What was asked last, since a thousand streams in a row ask the same.
        self._last_plan: tuple[ref[ResourceSet], frozenset[str], Plan] | None = None
        self._last_subset: tuple[frozenset[str], ref[ResourceSet]] | None = None

    def __repr__(self) -> str:
        return f"ResourceSet({self.type_url.rsplit('.', 1)[-1]}, {len(self.named)} resources)"

    def __len__(self) -> int:
        return len(self.named)

    def __contains__(self, name: str) -> bool:
        return name in self.named

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def get(self, name: str) -> Resource | None:
        """The Resource of this name."""
        return self.named.get(name)

    @property
    def version(self) -> str:
        """The hash of all names and versions: equal sets have equal versions on every replica (rules R12, R59)."""
        if not self._version:
            content = "\n".join(f"{name} {self.named[name].version}" for name in sorted(self.named))
            self._version = blake2b(content.encode(), digest_size=8).hexdigest()
        return self._version

    def only(self, names: frozenset[str]) -> ResourceSet:
        """The Resources with these names that exist here."""
        last = self._last_subset
        if last is not None and last[0] is names and (subset := last[1]()) is not None:
            return subset
        subset = self._shared_subset(names)
        self._last_subset = (names, ref(subset))
        return subset

    def _shared_subset(self, names: frozenset[str]) -> ResourceSet:
        if self._root is not None:
            return self._root.only(names if names <= self.named.keys() else names.intersection(self.named))
        if self._subsets is None:
            self._subsets = WeakValueDictionary()
        subset = self._subsets.get(names)
        if subset is None:
            subset = self._subsets[names] = self if self.named.keys() <= names else self._subset(names)
        return subset

    def _subset(self, names: frozenset[str]) -> ResourceSet:
        return ResourceSet(self.type_url, {name: self.named[name] for name in names if name in self.named}, self)

    def inherit(self, older: ResourceSet) -> None:
        """Take over the older set's subsets in which nothing changed.

        Who holds one is not told of this set, so what it holds must not keep the older one alive, and must be the same
        object that others with the same names are given from now on.
        """
        self._root = self._last_subset = None  # of a set that is offered again, after it was a subset of another
        if older is self or not older._subsets:
            return
        changed = frozenset(self.differing(older))
        known = self._subsets = self._subsets if self._subsets is not None else WeakValueDictionary()
        for names, subset in list(older._subsets.items()):
            if names.isdisjoint(changed) and names not in known:
                known[names] = subset
                if subset is not self:
                    subset._root, subset._last_subset = self, None

    def differing(self, older: ResourceSet) -> tuple[str, ...]:
        """Names that are new, changed or gone since the older set."""
        if older is self:
            return ()
        if self._differing is None:
            self._differing = WeakKeyDictionary()
        names = self._differing.get(older)
        if names is None:
            names = self._differing[older] = self._compare(older)
        return names

    def mark(self, older: ResourceSet | None = None) -> int:
        """A number that sets of the same Resources have in common, and others hardly ever; at hand from an older set's.

        It is made of the Resources' addresses, so it means something only while both sets are there.
        """
        if self._mark is None:
            if older is None:
                self._mark = sum(map(_address, self.named.values()))
            else:
                names = self.differing(older)
                came = sum(_address(self.named[name]) for name in names if name in self.named)
                went = sum(_address(older.named[name]) for name in names if name in older.named)
                self._mark = older.mark() + came - went
        return self._mark

    def _compare(self, older: ResourceSet) -> tuple[str, ...]:
        before, now = older.named, self.named
        news = differing(before, now)
        gone = len(before) + sum(name not in before for name in news) - len(now)
        return (*news, *filterfalse(now.__contains__, before)) if gone else tuple(news)

    def plan(self, held: ResourceSet, asked: frozenset[str]) -> Plan:
        """What brings a client that holds `held` here, and answers what it asked for. Shared by all such clients."""
        last = self._last_plan
        if last is not None and last[0]() is held and last[1] is asked:
            return last[2]
        plan = self._known_plan(held, asked)
        self._last_plan = (ref(held), asked, plan)
        return plan

    def _known_plan(self, held: ResourceSet, asked: frozenset[str]) -> Plan:
        if self._plans is None:
            self._plans = WeakKeyDictionary()
        plans = self._plans.get(held)
        if plans is None:
            plans = self._plans[held] = {}
        plan = plans.get(asked)
        if plan is None:
            if len(plans) >= REMEMBERED_PLANS:
                plans.clear()
            plan = plans[asked] = self._plan(held, asked)
        return plan

    def _plan(self, held: ResourceSet, asked: frozenset[str]) -> Plan:
        differing = self.differing(held)
        names = dict.fromkeys(self.named if ALL in asked else ())
        names.update(dict.fromkeys(differing))
        names.update(dict.fromkeys(sorted(asked - NOT_NAMES)))
        plan = Plan(
            adds=tuple(self.named[name] for name in names if name in self.named),
            missing=tuple(name for name in names if name not in self.named and name in asked),
            vanished=tuple(name for name in names if name not in self.named and name not in asked),
            answer=not asked.isdisjoint(NOT_NAMES),
        )
        plan.part = self._first_part(held, asked, plan, frozenset(differing))
        return plan

    def _first_part(
        self, held: ResourceSet, asked: frozenset[str], plan: Plan, differing: frozenset[str]
    ) -> Plan | None:
        """The part of a long plan to send first. The rest is the plan of a client that holds the part's `stage`."""
        size = 0
        for count, resource in enumerate(plan.adds):
            size += len(resource.entry)
            if count and size > PART_BYTES:
                break
        else:
            return None
        adds, later = plan.adds[:count], plan.adds[count:]
        stage = ResourceSet(self.type_url, {**held.named, **{resource.name: resource for resource in adds}})
        # What differs is sent anyway; what was asked for though it does not differ has to be asked for again.
        rest = frozenset(each.name for each in later if each.name in asked or each.name not in differing)
        return Plan(adds, plan.missing, answer=plan.answer, stage=stage, rest=rest)


def _address(resource: Resource) -> int:
    """Spread, since addresses in a row would cancel each other out in a sum."""
    return hash((id(resource), None))


@dataclass(slots=True)
class Plan:
    """What a client lacks of one type.

    `adds` are new, changed or asked for; `missing` were asked for and do not exist; `vanished` are held by the client
    and exist no more; `withheld` differ too and are not sent now. `answer`: a wildcard was asked for, so a response is
    due even with nothing in it (rule R48). `responses` keeps what was put together for it, by protocol. `part` is the
    first part of a long plan; of such a part, `stage` is what the client holds then, and `rest` what it still asks for.
    """

    adds: tuple[Resource, ...] = ()
    missing: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    answer: bool = False
    responses: dict[str, Response] = field(default_factory=dict)
    part: Plan | None = None
    stage: ResourceSet | None = None
    rest: frozenset[str] = NO_NAMES


NOTHING: Final = ResourceSet("", {})
"""What a client holds that has just connected."""
