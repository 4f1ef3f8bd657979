"""Bytes from outside at every parser: each answers with what it is documented to answer, and soon.

The same inputs are tried for as long as wanted by `make fuzz`; tests/fuzz/README.md has what that found.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from hostile_bytes import Parser
from parsers import PARSERS

EXAMPLES = 40
"""Of the dearest parser; cheaper ones have more."""


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_whatever_comes_is_read_or_refused_as_documented(parser: Parser) -> None:
    @settings(max_examples=EXAMPLES * parser.weight, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=parser.inputs)
    def reads(value: Any) -> None:
        parser(value)

    reads()
