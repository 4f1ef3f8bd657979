"""Prometheus' text format as a list of series, read by prometheus-client's parser, which knows nothing of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Series(NamedTuple):
    """One line: a name, its labels, a value."""

    name: str
    labels: Mapping[str, str]
    value: float


_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_MEANING: dict[str, Callable[[str, str], bool]] = {
    "=": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
}


def read(text: str) -> list[Series]:
    """All series. Raises ValueError where Prometheus would not understand."""
    families = text_string_to_metric_families(text)
    return [Series(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def select(series: list[Series], selector: str) -> list[Series]:
    """Those that a PromQL instant vector selector such as `up{job=~"a|b"}` selects."""
    name, _, matchers = selector.partition("{")
    wanted = _MATCHER.findall(matchers)
    return [
        each
        for each in series
        if each.name == name and all(_MEANING[how](each.labels.get(label, ""), to) for label, how, to in wanted)
    ]


def total(series: list[Series], selector: str) -> float:
    """The sum of what a selector selects; 0 of nothing."""
    return sum(each.value for each in select(series, selector))
