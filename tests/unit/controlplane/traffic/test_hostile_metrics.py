"""Whoever has a pod may answer in its sidecar's place: what that costs is bounded, and others' counts stay."""

from __future__ import annotations

import tracemalloc

import pytest

from controlplane.traffic.exposition import LONGEST_LINE, MOST_SERIES, read
from mesh.model import PodId
from sidecar_counts import requests, served

POD = PodId("shop", "web-1")


@pytest.mark.parametrize("code", ["9" * 5000, "0", "-1", "2e2", "abc", "²"])
def test_a_status_that_is_none_is_a_failure_and_no_error(code: str) -> None:
    (raw,) = read(POD, requests(3, code, reporter="destination")).raws.values()
    assert raw.series.failed


@pytest.mark.parametrize("label", ["a" * LONGEST_LINE, '"' * LONGEST_LINE, ":" * LONGEST_LINE, ",a" * LONGEST_LINE])
def test_a_line_that_no_sidecar_writes_is_not_searched(label: str) -> None:
    """40,000 letters took 8 seconds in which nothing else of the control plane ran."""
    hostile = requests(3, reporter="destination").replace('reporter="', f'{label},reporter="')
    told = read(POD, f"{hostile}\n{served(5)}").raws
    assert [raw.counts().requests for raw in told.values()] == [5]


def test_millions_of_short_lines_take_no_memory_beside_the_text() -> None:
    text = "ab\n" * 1_000_000 + served(5)
    tracemalloc.start()
    told = read(POD, text).raws
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [raw.counts().requests for raw in told.values()] == [5]
    assert most < len(text) / 10


def test_so_many_series_as_no_sidecar_has_are_not_kept() -> None:
    lines = "\n".join(
        f'istio_tcp_sent_bytes_total{{reporter="source",destination_workload="w{number}"}} 1'
        for number in range(MOST_SERIES + 100)
    )
    assert len(read(POD, lines).raws) == MOST_SERIES
