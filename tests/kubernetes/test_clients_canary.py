"""Flagger and Argo Rollouts at work: they find what they wrote, and the newest version says the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from canary_clients import ArgoRollouts, Flagger, ForeignError
from raw_api import RawApi
from smi.decode import read
from smi.kinds import TrafficSplit
from smi_cluster import SmiCluster, smi_cluster

VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(api: RawApi, shared_namespace: str) -> Iterator[SmiCluster]:
    with smi_cluster(api, shared_namespace) as made:
        yield made


@pytest.fixture(params=VERSIONS)
def flagger(cluster: SmiCluster, request: pytest.FixtureRequest) -> Flagger:
    return Flagger(cluster.api, cluster.namespace, request.param, f"podinfo-{next(NUMBERS)}")


@pytest.fixture(params=VERSIONS)
def argo(cluster: SmiCluster, request: pytest.FixtureRequest) -> ArgoRollouts:
    return ArgoRollouts(cluster.api, cluster.namespace, request.param, f"rollout-{next(NUMBERS)}")


def stored(cluster: SmiCluster, name: str) -> TrafficSplit:
    """What the control plane reads."""
    found = read(cluster.read("TrafficSplit", "v1alpha4", name)).object
    assert isinstance(found, TrafficSplit)
    return found


def shares(split: TrafficSplit) -> dict[str, int]:
    return {backend.service.rpartition("-")[2]: backend.weight for backend in split.backends}


def test_v3_flagger_runs_a_canary_to_its_end(cluster: SmiCluster, flagger: Flagger) -> None:
    flagger.reconcile()
    assert flagger.routes() == (100, 0)
    for canary in (5, 50, 100, 0):
        flagger.set_routes(100 - canary, canary)
        assert flagger.routes() == (100 - canary, canary)
        assert shares(stored(cluster, flagger.name)) == {"primary": 100 - canary, "canary": canary}


def test_v3_flaggers_tick_finds_its_spec_and_writes_nothing(flagger: Flagger) -> None:
    flagger.reconcile()
    before = flagger.get()
    flagger.set_routes(60, 40)
    flagger.calls.clear()
    flagger.reconcile()
    assert flagger.calls == [("GET", 200)]
    after = flagger.get()
    assert set(after["spec"]) == {"service", "backends"}
    assert after["metadata"].get("annotations") is None
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert [backend["service"] for backend in after["spec"]["backends"]] == [
        f"{flagger.name}-canary",
        f"{flagger.name}-primary",
    ]


def test_flaggers_update_of_a_split_that_changed_meanwhile_is_a_conflict(cluster: SmiCluster, flagger: Flagger) -> None:
    flagger.reconcile()
    old = flagger.get()
    flagger.set_routes(90, 10)
    assert flagger.call("PUT", flagger.name, old).code == 409
    assert flagger.routes() == (90, 10)


def test_flagger_resets_a_split_that_somebody_gave_another_root(cluster: SmiCluster, flagger: Flagger) -> None:
    flagger.reconcile()
    newest = cluster.read("TrafficSplit", "v1alpha4", flagger.name)
    newest["spec"]["service"] = "other"
    cluster.api("PUT", cluster.path("TrafficSplit", "v1alpha4", flagger.name), newest).expect(200)
    flagger.reconcile()
    assert flagger.get()["spec"]["service"] == flagger.name


@pytest.mark.parametrize("newer", VERSIONS)
def test_flagger_goes_on_in_another_version(cluster: SmiCluster, flagger: Flagger, newer: str) -> None:
    """After a change of its mesh provider, for instance."""
    flagger.reconcile()
    flagger.set_routes(70, 30)
    other = Flagger(cluster.api, cluster.namespace, newer, flagger.name)
    other.reconcile()
    assert other.calls == [("GET", 200)]
    assert other.routes() == (70, 30)


def test_t4_argo_runs_a_rollout_to_its_end(cluster: SmiCluster, argo: ArgoRollouts) -> None:
    for canary in (0, 10, 50, 100, 0):
        argo.set_weight(canary)
        split = stored(cluster, argo.name)
        assert split.service == f"{argo.name}-stable"
        assert shares(split) == {"canary": canary, "stable": 100 - canary}


def test_v3_argo_finds_its_spec_and_sends_no_patch(argo: ArgoRollouts) -> None:
    assert argo.set_weight(30)
    assert not argo.set_weight(30)
    assert argo.calls == [("GET", 404), ("POST", 201), ("GET", 200)]
    assert argo.get()["metadata"].get("annotations") is None


def test_argos_experiments_have_backends_of_their_own(cluster: SmiCluster, argo: ArgoRollouts) -> None:
    argo.set_weight(10)
    argo.set_weight(10, first=5, second=15)
    assert list(shares(stored(cluster, argo.name)).items()) == [
        ("canary", 10), ("first", 5), ("second", 15), ("stable", 70),
    ]  # fmt: skip
    argo.set_weight(20)
    assert shares(stored(cluster, argo.name)) == {"canary": 20, "stable": 80}


def test_argo_sees_in_every_version_who_owns_a_split(cluster: SmiCluster, argo: ArgoRollouts) -> None:
    argo.set_weight(10)
    newest = cluster.read("TrafficSplit", "v1alpha4", argo.name)
    newest["metadata"]["ownerReferences"] = []
    cluster.api("PUT", cluster.path("TrafficSplit", "v1alpha4", argo.name), newest).expect(200)
    with pytest.raises(ForeignError):
        argo.set_weight(20)


@pytest.mark.parametrize("flagger", VERSIONS[:2], indirect=True)
def test_v2_what_only_the_newest_version_can_say_survives_a_whole_canary(cluster: SmiCluster, flagger: Flagger) -> None:
    flagger.reconcile()
    newest = cluster.read("TrafficSplit", "v1alpha4", flagger.name)
    newest["spec"]["matches"] = [{"kind": "HTTPRouteGroup", "name": "beta"}]
    cluster.api("PUT", cluster.path("TrafficSplit", "v1alpha4", flagger.name), newest).expect(200)
    flagger.calls.clear()
    flagger.reconcile()
    assert flagger.calls == [("GET", 200)]
    flagger.set_routes(50, 50)
    assert [group.name for group in stored(cluster, flagger.name).matches] == ["beta"]
