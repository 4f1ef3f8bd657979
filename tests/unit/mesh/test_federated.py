"""Callers of other meshes are named by an annotation of a TrafficTarget, and get nothing by mistake (rules A2, F1)."""

from __future__ import annotations

import pytest

from mesh.federated import MOST, federated
from mesh.model import Identity
from smi.kinds import Subject, TrafficTarget

HOME, PARTNER = "cluster.local", "other.example"


def target(text: str) -> TrafficTarget:
    destination = Subject(kind="ServiceAccount", name="web")
    return TrafficTarget(
        namespace="shop", name="api", api_version="access.smi-spec.io/v1alpha3", destination=destination, federated=text
    )


def test_f1_spiffe_ids_of_other_meshes_are_sources() -> None:
    text = f"spiffe://{PARTNER}/ns/a/sa/one,\n  spiffe://{PARTNER}/ns/b/sa/two"
    found, problems = federated(target(text), HOME)
    assert (found, problems) == ({Identity(PARTNER, "a", "one"), Identity(PARTNER, "b", "two")}, [])


def test_f1_without_the_annotation_there_are_none() -> None:
    assert federated(target(""), HOME) == (set(), [])


@pytest.mark.parametrize(
    "text",
    [
        "web", "spiffe://", f"spiffe://{PARTNER}", f"spiffe://{PARTNER}/web", f"spiffe://{PARTNER}/ns/*/sa/web",
        f"spiffe://{PARTNER}/ns/a/sa/b/c", f"spiffe://{PARTNER.upper()}/ns/a/sa/b", "spiffe:///ns/a/sa/b",
        f"spiffe://{HOME}/ns/a/sa/b", f"https://{PARTNER}/ns/a/sa/b", "*",
    ],
)  # fmt: skip
def test_f1_what_is_no_spiffe_id_of_another_mesh_grants_nothing_and_is_told(text: str) -> None:
    found, [problem] = federated(target(text), HOME)
    assert not found
    assert (problem.rule, problem.field) == ("F1", "metadata.annotations[weft.dev/federated-sources]")


def test_f1_there_is_a_limit() -> None:
    names = " ".join(f"spiffe://{PARTNER}/ns/a/sa/s{number}" for number in range(MOST + 1))
    found, [problem] = federated(target(names), HOME)
    assert len(found) == MOST
    assert "More than" in problem.message
