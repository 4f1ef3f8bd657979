"""Functions that remember: recompute everything, run again only what has a new input.

Rule: a remembered function takes one frozen argument and reads nothing else, so an equal argument means an equal
result and no list of what affects what exists. Results that are equal stay the identical object, so whoever comes
next can compare with `is`, and Python's own `==` of tuples and dicts finds out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import compress, repeat
from operator import is_, ne
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K")
A = TypeVar("A")
R = TypeVar("R")

_NEVER: Final = object()


class Remembered(Generic[A, R]):
    """A function that keeps its last result while its argument is equal. `runs` counts how often it really ran."""

    def __init__(self, function: Callable[[A], R]) -> None:
        self._function = function
        self._input: Any = _NEVER
        self._result: Any = _NEVER
        self.runs = 0

    def __call__(self, argument: A) -> R:
        """The function's result: the identical object as before if it is equal to that."""
        if not _same(self._input, argument):
            self._result = settled(self._result, self._function(argument))
            self._input = argument
            self.runs += 1
        result: R = self._result
        return result


class RememberedMap(Generic[K, A, R]):
    """A function over the values of a mapping that keeps each key's result while that key's argument is equal."""

    def __init__(self, function: Callable[[A], R]) -> None:
        self._function = function
        self._inputs: Mapping[K, A] = {}
        self._results: Mapping[K, R] = {}
        self.runs = 0

    def __call__(self, inputs: Mapping[K, A]) -> Mapping[K, R]:
        """The results by key, in the order of the keys; keys that vanished are forgotten.

        The identical mapping as before if no key and no result changed. A mapping once returned never changes.
        """
        if self._inputs is inputs:
            return self._results
        fresh = {key: self._run(key, inputs[key]) for key in differing(self._inputs, inputs)}
        known = self._results
        if len(inputs) != len(known) or not fresh.keys() <= known.keys():
            self._results = {key: fresh[key] if key in fresh else known[key] for key in inputs}
        elif not all(known[key] is result for key, result in fresh.items()):
            self._results = {**known, **fresh}
        self._inputs = inputs
        return self._results

    def _run(self, key: K, argument: A) -> R:
        self.runs += 1
        result: R = settled(self._results.get(key, _NEVER), self._function(argument))
        return result


class Joined(Generic[K, A]):
    """Makes the arguments of leaves from the parts that several mappings hold under the same key.

    Where every part is equal to that of the round before, the argument is the identical object, and where all are, so
    is the mapping: whoever gets it next is done at once.
    """

    def __init__(self, make: Callable[..., A]) -> None:
        self._make = make
        self._parts: tuple[Mapping[K, Any], ...] = ()
        self._rows: Mapping[K, tuple[Any, ...]] = {}
        self._made: Mapping[K, A] = {}

    def __call__(self, first: Mapping[K, Any], *others: Mapping[K, Any]) -> Mapping[K, A]:
        """The arguments by key, in the order of the first mapping; None for a part that another one lacks."""
        parts = (first, *others)
        if len(parts) == len(self._parts) and all(map(is_, parts, self._parts)):
            return self._made
        rows = dict(zip(first, zip(*(map(part.get, first) for part in parts), strict=True), strict=True))
        fresh = {key: self._make(*rows[key]) for key in differing(self._rows, rows)}
        if fresh or len(rows) != len(self._made):
            known = self._made
            self._made = {key: fresh[key] if key in fresh else known[key] for key in rows}
        self._parts, self._rows = parts, rows
        return self._made


def differing(before: Mapping[K, Any], now: Mapping[K, Any]) -> list[K]:
    """The keys of `now` under which something else stands than before, or nothing did.

    Looks at every key, but without running Python for those whose values are the identical object: in a tuple of one
    the interpreter compares by identity before it asks for equality.
    """
    known = map(before.get, now, repeat(_NEVER))
    return list(compress(now, map(ne, zip(known), zip(now.values()))))  # as long as `now`, both


def settled(before: Any, now: Any) -> Any:
    """`now`, but made of the objects of `before` wherever the two are equal, fields and values of dicts included."""
    if _same(before, now):
        return before
    if type(before) is not type(now):
        return now
    if isinstance(now, dict):
        changed = {key: settled(before.get(key, _NEVER), now[key]) for key in differing(before, now)}
        return {**dict(zip(now, map(before.get, now), strict=True)), **changed}
    if is_dataclass(now) and not isinstance(now, type):
        parts = {part.name: settled(getattr(before, part.name), getattr(now, part.name)) for part in fields(now)}
        return replace(now, **parts)
    return now


def _same(before: object, now: object) -> bool:
    return before is now or before == now
