"""Fail static: a failure of ours leaves the last good configuration in force, and the next change is tried anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import world
from controlplane.pipeline import Pipeline
from controlplane.status import Status
from kube.problem import Problem
from local.plan import planned
from mesh.build import Builder
from mesh.model import Identity, Mesh, PodId
from mesh.settings import MeshSettings
from smi.resources import Resources
from sources.folder import FolderSource
from sources.store import Store
from xds.cache import Cache
from xds.peers import NO_PEERS, Peers
from xds.snapshot import World
from xds.translate.settings import TranslateSettings
from xds.translate.world import Translator


class Issued:
    """A certificate authority as far as a round needs one; remembers whom it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: set[Identity] = set()

    def bundle_pem(self) -> bytes:
        return b"bundle"

    @property
    def peers(self) -> Peers:
        return NO_PEERS

    def forget(self, identities: Iterable[Identity]) -> None:
        self.forgotten.update(identities)


def as_found(problem: Problem) -> Problem:
    """Leave a Problem where it was found."""
    return problem


class BrittleTranslator(Translator):
    """Fails as a bug of ours would, while `broken`."""

    broken = False

    def translate(self, mesh: Mesh, bundle: str, peers: Peers = NO_PEERS) -> World:
        if self.broken:
            raise RuntimeError("a bug of ours")
        return super().translate(mesh, bundle, peers)


def pipeline_of(status: Status, authority: Issued) -> Pipeline:
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())
    return Pipeline(Store(), builder, translator, Cache(), status, authority, as_found)


def resources(folder: Path, *texts: str) -> Resources:
    for number, text in enumerate((world.base(), *texts)):
        (folder / f"{number}.yaml").write_text(text)
    return planned(FolderSource([folder]).read())


def test_the_last_good_configuration_stays_when_a_round_fails(tmp_path: Path) -> None:
    cache, status, translator = Cache(), Status(), BrittleTranslator(TranslateSettings())
    pipeline = Pipeline(Store(), Builder(MeshSettings()), translator, cache, status, Issued(), as_found)
    pipeline.round(resources(tmp_path))
    (client,) = [pod for pod in status.world.proxies if pod.name.startswith("client")]
    before = cache.view(client)
    assert before is not None

    translator.broken = True
    pipeline.round(resources(tmp_path, world.allow_http("web-v1", "client")))
    assert cache.view(client) is before
    assert (status.ready, status.failures, status.failure) == (True, 1, "RuntimeError: a bug of ours")

    translator.broken = False
    pipeline.round(resources(tmp_path, world.allow_http("web-v1", "client")))
    assert cache.view(client) is not before
    assert (status.failures, status.failure) == (1, "")


def test_problems_of_reading_and_of_meaning_are_shown_together(tmp_path: Path) -> None:
    status = Status()
    pipeline = Pipeline(
        Store(), Builder(MeshSettings()), Translator(TranslateSettings()), Cache(), status, Issued(), as_found
    )
    pipeline.round(resources(tmp_path, "kind: [", world.split("s", "nowhere", {"web-v1": 1})))
    assert {problem.rule for problem in status.problems} >= {"decode", "T1"}
    assert PodId("test", "client") not in status.world.proxies


def test_leaves_of_identities_that_are_gone_are_not_renewed_any_more(tmp_path: Path) -> None:
    authority = Issued()
    pipeline = pipeline_of(Status(), authority)
    pipeline.round(resources(tmp_path))
    assert authority.forgotten == set()
    pipeline.round(Resources())
    assert {identity.service_account for identity in authority.forgotten} >= {"client", "web-v1"}


def test_a_leaf_is_renewed_while_a_stream_has_it_though_its_workload_is_gone_for_a_moment(tmp_path: Path) -> None:
    cache, status, authority = Cache(), Status(), Issued()
    builder, translator = Builder(MeshSettings()), Translator(TranslateSettings())
    pipeline = Pipeline(Store(), builder, translator, cache, status, authority, as_found)
    pipeline.round(resources(tmp_path))
    (pod,) = [pod for pod in status.world.proxies if pod.name.startswith("client")]
    identity = status.world.roles[status.world.proxies[pod]].identity
    watch = cache.watch(pod, identity, lambda *_: False)
    cache.publish_secrets(identity, {})
    pipeline.round(Resources())
    assert identity not in authority.forgotten
    cache.leave(watch)
    pipeline.round(Resources())
    assert identity in authority.forgotten
