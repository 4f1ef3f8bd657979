"""Weights: quantities and whole numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from smi.quantity import MAX_WEIGHT, quantity, weights, whole


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (1, "1"), ("1", "1"), ("500m", "0.5"), ("1e3", "1000"), ("1E3", "1000"), ("2k", "2000"), ("2Ki", "2048"),
        ("0.5", "0.5"), (0.25, "0.25"), (".5", "0.5"), ("1.", "1"), ("0", "0"), ("100u", "0.0001"), ("+3", "3"),
        ("1E", "1e18"), (1e3, "1000"), ("7n", "7e-9"), ("1e-3", "0.001"),
    ],
)  # fmt: skip
def test_v4_a_quantity_is_read_exactly(written: object, value: str) -> None:
    assert quantity(written) == Decimal(value)


@pytest.mark.parametrize(
    "written",
    ["", "m", "1 m", "1mm", "one", "1e", "0x1", "\u0661", "-1", -1, -0.5, True, None, [], {}, "1e9999", "9e18k",
     float("nan"), float("inf"), "1" * 100, "1e99999999999"],
)  # fmt: skip
def test_v4_what_is_no_quantity_is_refused(written: object) -> None:
    assert isinstance(quantity(written), str)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1", "3"], [1, 3]),
        (["1", "500m"], [1000, 500]),
        (["10m", "100m", "1500m"], [10, 100, 1500]),
        (["1000m", "1"], [1, 1]),
        (["1u", "1"], [1, 1000]),
        ([], []),
    ],
)
def test_v4_whole_weights_stay_and_others_become_thousandths(written: list[str], read: list[int]) -> None:
    values = [value for item in written if isinstance(value := quantity(item), Decimal)]
    assert weights(values) == read


@pytest.mark.parametrize(("written", "read"), [(0, 0), (50, 50), (50.0, 50), (MAX_WEIGHT, MAX_WEIGHT)])
def test_v5_a_whole_number_is_a_weight(written: object, read: int) -> None:
    assert whole(written) == read


@pytest.mark.parametrize(
    "written", [0.5, -1, "50", "500m", True, None, [], MAX_WEIGHT + 1, 1e300, float("nan"), float("inf")]
)
def test_v5_anything_else_is_refused(written: object) -> None:
    assert isinstance(whole(written), str)
