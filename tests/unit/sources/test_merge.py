"""Many files as one: the first of a name counts, the overlay stands in for it."""

from __future__ import annotations

from kube.objects import Service
from kube.problem import Origin, Ref, Severity
from smi.resources import Resources
from sources.manifest import Manifest, read_manifest, read_own
from sources.merge import merged, reusing


def service(name: str, ip: str = "") -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: '{ip}'}}\n"


def split(name: str, service: str = "web") -> str:
    spec = f"spec: {{service: {service}, backends: []}}"
    return f"apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {{name: {name}}}\n{spec}\n"


def manifest(file: str, *documents: str) -> Manifest:
    return read_manifest(file, "---\n".join(documents).encode())


WEB = Ref("Service", "default", "web")


def address(resources: Resources) -> str:
    found = resources.objects[WEB]
    assert isinstance(found, Service)
    return found.spec.cluster_ip


def test_an_object_written_twice_counts_where_it_comes_first() -> None:
    found = merged([manifest("a.yaml", service("web", "10.0.0.1")), manifest("b.yaml", "# x\n", service("web"))], [])
    assert address(found) == "10.0.0.1"
    (problem,) = found.problems
    assert problem.object == WEB
    assert problem.origin == Origin("b.yaml", 3)
    assert "a.yaml:1" in problem.message
    assert problem.severity is Severity.ERROR


def test_an_object_written_twice_alike_is_a_warning() -> None:
    for text in (service("web"), split("s")):
        found = merged([manifest("a.yaml", text), manifest("b.yaml", text)], [])
        assert [problem.severity for problem in found.problems] == [Severity.WARNING]


def test_an_unreadable_first_one_stays_in_force_too() -> None:
    found = merged(
        [manifest("a.yaml", service("web").replace("{clusterIP", "{ports: 5, clusterIP"), service("web"))], []
    )
    assert found.objects == {}
    assert found.invalid == {WEB}
    assert len(found.problems) == 2


def test_the_overlay_stands_in_without_a_problem() -> None:
    own = read_own(
        "o.json", b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"1.1.1.1"}}'
    )
    found = merged([manifest("a.yaml", service("web", "10.0.0.1"))], [own])
    assert address(found) == "1.1.1.1"
    assert found.problems == ()


def test_what_is_none_of_our_business_is_not_there() -> None:
    found = merged([manifest("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")], [])
    assert found == Resources()


def test_a_document_without_kind_or_name_is_a_problem_and_nothing_else() -> None:
    found = merged([manifest("a.yaml", "a: 1\n", "apiVersion: v1\nkind: Service\nmetadata: {}\n")], [])
    assert found.objects == {}
    assert [problem.origin for problem in found.problems] == [Origin("a.yaml", 1), Origin("a.yaml", 5)]


def test_equal_objects_are_the_same_objects_after_a_change() -> None:
    before = manifest("a.yaml", service("a"), service("b"))
    after = reusing(manifest("a.yaml", service("a"), service("b", "10.0.0.1")), before)
    assert after.items[0].read.object is before.items[0].read.object
    assert after.items[1].read.object is not before.items[1].read.object


def test_files_that_share_no_name_mean_the_same_whichever_way_they_are_merged() -> None:
    plain = manifest("a.yaml", service("a"), "a: 1\n", service("b").replace("{clusterIP", "{ports: 5, clusterIP"))
    other = manifest("b.yaml", split("s"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    twice = manifest("c.yaml", service("a", "10.0.0.1"))
    alone, looked_through = merged([plain, other], []), merged([plain, other, twice], [])
    assert looked_through.objects == alone.objects
    assert looked_through.invalid == alone.invalid == {Ref("Service", "default", "b")}
    assert looked_through.problems[:-1] == alone.problems
    assert [problem.origin for problem in alone.problems] == [Origin("a.yaml", 6), Origin("a.yaml", 11)]
