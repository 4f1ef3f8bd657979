from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.model import Share
from shop_mesh import CATALOG_PORT
from xds.translate.weights import MOST, weighted


def shares(*weights: int) -> list[Share]:
    return [Share(CATALOG_PORT, weight) for weight in weights]


def test_t2_weight_0_receives_nothing_and_others_stay_as_written() -> None:
    assert [weight for _, weight in weighted(shares(1000, 0, 500))] == [1000, 500]


def test_t3_nothing_is_left_of_zeros_alone() -> None:
    assert weighted(shares(0, 0)) == []
    assert weighted([]) == []


@given(st.lists(st.integers(min_value=0, max_value=10**30), max_size=20))
def test_t2_any_weights_fit_what_envoy_takes_and_keep_their_proportion(weights: list[int]) -> None:
    made = [weight for _, weight in weighted(shares(*weights))]
    positive = [weight for weight in weights if weight]
    assert len(made) == len(positive)
    assert sum(made) <= MOST
    assert all(weight > 0 for weight in made)
    for before, after in zip(positive, made, strict=True):
        assert abs(before / sum(positive) - after / sum(made)) < 1e-6
