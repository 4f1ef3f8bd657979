"""The control plane's metrics: what the documentation lists is told, and nothing is told that it does not list."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.core import Metric

from ca.authority import Authority
from controlplane.app import control_plane
from controlplane.ca_metrics import AuthorityCollector
from controlplane.settings import ControlPlaneSettings
from fake_clock import FakeClock
from mesh.model import Identity

DOCS = Path(__file__).parents[3] / "docs"
IN_A_CLUSTER = {"weft_api_request_duration_seconds", "weft_source_in_step", "weft_source_stale_since_seconds"}
LISTED = re.compile(r"`(weft_\w+)`")


def told(folder: Path) -> dict[str, Metric]:
    """What a control plane tells, by the name people ask by."""
    settings = ControlPlaneSettings(paths=(folder / "manifests",), ca_folder=folder / "ca")
    families = control_plane(settings).registry.collect()
    return {f"{each.name}_total" if each.type == "counter" else each.name: each for each in families}


def listed(page: str, heading: str = "") -> set[str]:
    """The metrics a page names, in the section of this heading or anywhere."""
    text = (DOCS / page).read_text()
    return set(LISTED.findall(text.partition(heading)[2].partition("\n## ")[0] if heading else text))


def test_what_the_documentation_lists_is_told(tmp_path: Path) -> None:
    missing = listed("telemetry.md", "## What the control plane tells\n") - told(tmp_path).keys() - IN_A_CLUSTER
    assert missing == set()


def test_what_is_told_is_listed_in_the_documentation(tmp_path: Path) -> None:
    pages = [path.name for path in DOCS.glob("*.md")]
    assert told(tmp_path).keys() - set().union(*map(listed, pages)) == set()


def test_a_rejection_can_be_seen_as_an_increase_from_nothing(tmp_path: Path) -> None:
    samples = told(tmp_path)["weft_xds_rejections_total"].samples
    assert {sample.value for sample in samples} == {0}
    assert {"Cluster", "Listener", "RouteConfiguration"} <= {sample.labels["type"] for sample in samples}


async def test_the_leaf_that_ends_first_is_told_by_its_seconds(tmp_path: Path) -> None:
    clock = FakeClock()
    authority = Authority.open(tmp_path, "example.org", clock=clock)
    collector = AuthorityCollector(authority, clock)

    def soonest() -> list[float]:
        (family,) = (each for each in collector.collect() if each.name == "weft_leaf_seconds_to_expiry")
        return [sample.value for sample in family.samples]

    assert soonest() == []
    await authority.secrets(Identity("example.org", "shop", "web"))
    life = authority.lifetimes.leaf.total_seconds()
    assert soonest() == [life]
    await clock.advance(authority.lifetimes.leaf / 4)
    await authority.secrets(Identity("example.org", "shop", "catalog"))
    assert soonest() == [life * 3 / 4]
