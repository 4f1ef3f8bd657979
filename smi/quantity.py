"""Weights as people write them: Kubernetes quantities in split v1alpha1 (rule V4), whole numbers later (rule V5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final

MAX_WEIGHT: Final = 2**63 - 1
"""The largest number a quantity or a JSON integer of Kubernetes holds."""

_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,4})?"
)
_DECIMAL: Final = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def quantity(written: object) -> Decimal | str:
    """The value of a quantity (`1`, `"500m"`, `"1e3"`, `"2Ki"`), or why it is none, as the rest of a sentence."""
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        return "is no quantity, such as 1, 500m or 1e3"
    text = str(written)
    found = _QUANTITY.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        return "is no quantity, such as 1, 500m or 1e3"
    value = _scaled(Decimal(found["number"]), found["suffix"] or "")
    if value < 0:
        return "is negative, and a weight is not"
    return value if value <= MAX_WEIGHT else "is too large"


def _scaled(number: Decimal, suffix: str) -> Decimal:
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    return number.scaleb(_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:]))


def weights(quantities: Sequence[Decimal]) -> list[int]:
    """Relative weights: the numbers themselves if all are whole, else all in thousandths, rounded up (rule V4)."""
    if all(value == value.to_integral_value() for value in quantities):
        return [int(value) for value in quantities]
    return [int((value * 1000).to_integral_value(ROUND_CEILING)) for value in quantities]


def whole(written: object) -> int | str:
    """A weight of split v1alpha2 and later, or why it is none, as the rest of a sentence. `50.0` is 50, as in JSON."""
    if isinstance(written, bool) or not isinstance(written, int | float):
        return "must be a whole number, without quotes"
    if written < 0:
        return "is negative, and a weight is not"
    if not written <= MAX_WEIGHT:  # so that NaN ends here too
        return "is too large"
    if written != int(written):
        return "is a fraction; from split v1alpha2 on a weight is a whole number"
    return int(written)
