"""Functions that remember: recompute everything, run again only what has a new input.

Rule: a remembered function takes one frozen argument and reads nothing else, so an equal argument means an equal
result and no list of what affects what exists. Results that are equal stay the identical object, so whoever comes
next can compare with `is`, and Python's own `==` of tuples and dicts finds out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
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
        results = {key: self._result(key, argument) for key, argument in inputs.items()}
        self._inputs = inputs
        if not _identical(self._results, results):
            self._results = results
        return self._results

    def _result(self, key: K, argument: A) -> R:
        before: Any = self._inputs.get(key, _NEVER)
        if _same(before, argument):
            return self._results[key]
        self.runs += 1
        result: R = settled(self._results.get(key, _NEVER), self._function(argument))
        return result


def settled(before: Any, now: Any) -> Any:
    """`now`, but made of the objects of `before` wherever the two are equal, fields and values of dicts included."""
    if _same(before, now):
        return before
    if type(before) is not type(now):
        return now
    if isinstance(now, dict):
        return {key: settled(before.get(key, _NEVER), value) for key, value in now.items()}
    if is_dataclass(now) and not isinstance(now, type):
        parts = {part.name: settled(getattr(before, part.name), getattr(now, part.name)) for part in fields(now)}
        return replace(now, **parts)
    return now


def _same(before: object, now: object) -> bool:
    return before is now or before == now


def _identical(before: Mapping[K, R], now: Mapping[K, R]) -> bool:
    """Whether two mappings hold the identical objects under the same keys."""
    return len(before) == len(now) and all(before.get(key, _NEVER) is value for key, value in now.items())
