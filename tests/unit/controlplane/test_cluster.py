"""What a replica tells of itself and of Problems: on the admin API, in metrics, and as words for Events."""

from __future__ import annotations

from pathlib import Path

import pytest

from ca.authority import Authority
from controlplane.cluster import Namespaces, ProblemNews
from controlplane.status import Status
from kube.objects import Meta, Namespace
from kube.problem import Problem, Ref, Severity
from smi.resources import Resources
from sources.store import Store

SPLIT = Ref("TrafficSplit", "shop", "canary")
SECRET = Ref("Secret", "weft-system", "weft-ca")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "ca", "cluster.local")


def test_a_problem_becomes_words_on_its_object(authority: Authority) -> None:
    problems = (
        Problem(SPLIT, "spec.backends[1].service", "There is no Service shop/v2.", "T6"),
        Problem(SPLIT, "", "It is set aside.", "decode", Severity.WARNING),
    )
    told = list(ProblemNews(Status(problems=problems), authority, SECRET).wanted())
    assert [(ref, said.reason, said.note) for ref, said in told] == [
        (SPLIT, "BackendLeftOut", "spec.backends[1].service: There is no Service shop/v2. [T6]"),
        (SPLIT, "InvalidObject", "It is set aside. [decode]"),
    ]


def test_a_broken_ca_is_told_on_its_secret(authority: Authority) -> None:
    news = ProblemNews(Status(), authority, SECRET)
    before = news.concerns()
    authority.trouble = "Secret weft-system/weft-ca, data[root.pem], does not hold a signing certificate and its key"
    ((ref, said),) = news.wanted()
    assert (ref, said.reason) == (SECRET, "CertificateAuthorityBroken")
    assert said.note.startswith("Secret weft-system/weft-ca, data[root.pem],")
    assert news.concerns() != before


def test_namespaces_that_are_going_get_nothing_more() -> None:
    store = Store()
    names = Namespaces(store)
    assert names() == frozenset()
    objects = (
        Namespace(Meta(name="shop"), "Namespace"),
        Namespace(Meta(name="going", deletion_timestamp="2026-01-01T00:00:00Z"), "Namespace"),
    )
    store.replace(Resources({each.ref: each for each in objects}))
    assert names() == {"shop"}
    assert names() is names()
