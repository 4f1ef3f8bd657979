"""When the demo says that a weight holds: within three standard deviations of a binomial distribution."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.demo.splits import draw


def counts(requests: int, v2: int, **statuses: int) -> dict[str, Any]:
    """What the client prints."""
    answered = statuses or {"200": requests}
    return {"requests": requests, "connections": 1, "versions": {"v1": requests - v2, "v2": v2}, "statuses": answered}


@pytest.mark.parametrize(
    ("share", "answered", "within"),
    [
        (0.1, 100, True),
        (0.1, 72, True),  # 3 · sqrt(1000 · 0.1 · 0.9) = 28.46
        (0.1, 71, False),
        (0.1, 128, True),
        (0.1, 129, False),
        (0.5, 547, True),  # 3 · sqrt(1000 · 0.5 · 0.5) = 47.43
        (0.5, 548, False),
        (1.0, 1000, True),
        (1.0, 999, False),
        (0.0, 0, True),
        (0.0, 1, False),
    ],
)
def test_three_standard_deviations_and_not_one_request_at_the_ends(share: float, answered: int, within: bool) -> None:
    assert draw(counts(1000, answered), share).within is within


def test_a_request_that_is_not_answered_200_spoils_the_draw() -> None:
    assert not draw(counts(1000, 100, **{"200": 999, "503": 1}), 0.1).within
