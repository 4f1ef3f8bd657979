"""An incremental map: a leaf's result is kept while its own input is equal.

Rule: what makes a leaf reads its input and nothing else, so "what does this change affect?" needs no list.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Input = TypeVar("Input")
Output = TypeVar("Output")


class Leaves(Generic[Key, Input, Output]):
    """Remembers one round: what is not asked for again is forgotten."""

    def __init__(self, make: Callable[[Input], Output]) -> None:
        self._make = make
        self._inputs: Mapping[Key, Input] = {}
        self._outputs: Mapping[Key, Output] = {}

    def __call__(self, inputs: Mapping[Key, Input]) -> Mapping[Key, Output]:
        """The result of each input. The very same mapping as last time if no input changed."""
        if inputs != self._inputs:
            self._outputs = {key: self._leaf(key, value) for key, value in inputs.items()}
            self._inputs = inputs
        return self._outputs

    def _leaf(self, key: Key, value: Input) -> Output:
        if key in self._inputs and self._inputs[key] == value:
            return self._outputs[key]
        return self._make(value)
