"""What annotations say about one pod's sidecar, and what happens to those that say nothing sensible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.problem import Ref
from proxy.redirect import PortRange
from webhook.annotations import (
    CONCURRENCY,
    CPU_LIMIT,
    CPU_REQUEST,
    EXCLUDE_INBOUND_CIDRS,
    EXCLUDE_INBOUND_PORTS,
    EXCLUDE_OUTBOUND_CIDRS,
    EXCLUDE_OUTBOUND_PORTS,
    LOG_LEVEL,
    MEMORY_LIMIT,
    MEMORY_REQUEST,
    PodWishes,
    pod_wishes,
    quantity,
)

POD = Ref("Pod", "shop", "web")
NAMES = (
    CONCURRENCY,
    CPU_LIMIT,
    CPU_REQUEST,
    EXCLUDE_INBOUND_CIDRS,
    EXCLUDE_INBOUND_PORTS,
    EXCLUDE_OUTBOUND_CIDRS,
    EXCLUDE_OUTBOUND_PORTS,
    LOG_LEVEL,
    MEMORY_LIMIT,
    MEMORY_REQUEST,
)


def test_nothing_said_means_nothing_asked() -> None:
    assert pod_wishes({}, POD) == (PodWishes(), ())


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", (PortRange(80, 80),)),
        (" 80 , 90-92 ,", (PortRange(80, 80), PortRange(90, 92))),
        ("", ()),
        ("1-65535", (PortRange(1, 65535),)),
    ],
)
def test_ports_are_numbers_and_ranges(text: str, ports: tuple[PortRange, ...]) -> None:
    wishes, problems = pod_wishes({EXCLUDE_INBOUND_PORTS: text}, POD)
    assert (wishes.exclude_inbound_ports, problems) == (ports, ())


@pytest.mark.parametrize("text", ["0", "65536", "http", "90-80", "1-", "-1", "80 90", "٨٠", "1" * 5000])
def test_a_bad_port_is_a_problem_that_names_the_annotation(text: str) -> None:
    wishes, problems = pod_wishes({EXCLUDE_OUTBOUND_PORTS: text}, POD)
    assert wishes.exclude_outbound_ports == ()
    assert [problem.field for problem in problems] == [f"metadata.annotations[{EXCLUDE_OUTBOUND_PORTS}]"]


@pytest.mark.parametrize(
    ("text", "value"), [("100m", 0.1), ("0.5", 0.5), ("2", 2), ("128Mi", 2**27), ("1G", 1e9), (" 1k ", 1000)]
)
def test_quantities_are_read_as_kubernetes_does(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "m", "1 Mi", "-1", "1mi", "0x10"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantity(text)


@given(st.sampled_from(NAMES), st.text())
def test_no_text_makes_reading_fail(name: str, text: str) -> None:
    _, problems = pod_wishes({name: text}, POD)
    assert all(problem.field == f"metadata.annotations[{name}]" for problem in problems)
