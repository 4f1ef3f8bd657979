"""One file: objects with their lines, lists taken apart, namespaces filled in."""

from __future__ import annotations

import msgspec
import pytest

from kube.objects import Service
from kube.problem import Origin, Ref
from smi.kinds import TrafficSplit
from sources.manifest import MAX_BYTES, read_manifest, read_own

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"


def test_objects_come_with_the_lines_they_begin_on() -> None:
    found = read_manifest("a.yaml", f"# x\n{SERVICE}---\n\n{SERVICE.replace('web', 'api')}".encode())
    assert [str(item.origin) for item in found.items] == ["a.yaml:2", "a.yaml:7"]
    assert not found.broken


def test_a_namespaced_object_without_a_namespace_is_in_default() -> None:
    text = f"{SERVICE}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\n"
    found = read_manifest("a.yaml", (text + SERVICE.replace("}", ", namespace: shop}")).encode())
    assert [item.read.ref for item in found.items] == [
        Ref("Service", "default", "web"), Ref("Namespace", "", "shop"), Ref("Service", "shop", "web"),
    ]  # fmt: skip


def test_a_problem_has_the_exact_line_of_its_field() -> None:
    text = """\
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata:
  name: s
spec:
  service: web
  backends:
  - service: a
    weight: 1
  - service: b
    weight: -1
"""
    (item,) = read_manifest("s.yaml", text.encode()).items
    (problem,) = item.read.problems
    assert problem.field == "spec.backends[1].weight"
    assert problem.origin == Origin("s.yaml", 11)


def test_an_smi_object_knows_where_it_is_from() -> None:
    text = "---\napiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: s}\n"
    (item,) = read_manifest("s.yaml", (text + "spec: {service: a, backends: []}\n").encode()).items
    assert isinstance(item.read.object, TrafficSplit)
    assert item.read.object.origin == Origin("s.yaml", 2)


@pytest.mark.parametrize("head", ["kind: List", "kind: ServiceList"])
def test_a_list_is_taken_apart(head: str) -> None:
    own = "apiVersion: v1, kind: Service, " if head == "kind: List" else ""
    text = f"apiVersion: v1\n{head}\nitems:\n- {{{own}metadata: {{name: a}}}}\n- 5\n- {{{own}metadata: {{name: b}}}}\n"
    found = read_manifest("l.yaml", text.encode())
    assert [(item.read.ref, item.origin.line) for item in found.items] == [
        (Ref("Service", "default", "a"), 4),
        (Ref("Service", "default", "b"), 6),
    ]
    assert [problem.origin for problem in found.problems] == [Origin("l.yaml", 5)]


def test_lists_in_lists_and_empty_lists_are_read() -> None:
    inner = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: a}}]}"
    found = read_manifest(
        "l.yaml", f"apiVersion: v1\nkind: List\nitems: [{inner}, {inner.replace('a}', 'b}')}]".encode()
    )
    assert {item.read.ref.name for item in found.items if item.read.ref} == {"a", "b"}
    assert read_manifest("l.yaml", b"apiVersion: v1\nkind: List\nitems: []").items == ()


@pytest.mark.parametrize("text", ["5", "[]", "text", "a: [", "- apiVersion: v1\n  kind: Service\n"])
def test_what_is_no_object_is_a_problem_with_the_file(text: str) -> None:
    found = read_manifest("x.yaml", text.encode())
    (problem,) = found.problems
    assert problem.object == Ref("File", "", "x.yaml")
    assert found.broken


def test_a_file_that_is_too_large_is_a_problem() -> None:
    found = read_manifest("big.yaml", b"a" * (MAX_BYTES + 1))
    assert "larger than 8 MiB" in found.problems[0].message


def test_own_files_are_read_like_others() -> None:
    content = msgspec.json.encode({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}})
    (own,), (other,) = read_own("s.json", content).items, read_manifest("s.json", content).items
    assert isinstance(own.read.object, Service)
    assert own.read.object == other.read.object


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"5", b"\xff"])
def test_own_files_may_be_broken_too(content: bytes) -> None:
    assert read_own("s.json", content).items == ()


def test_only_the_chunks_that_change_are_read_again() -> None:
    text = f"{SERVICE}---\n{SERVICE.replace('web', 'one')}---\na: [\n"
    before = read_manifest("a.yaml", text.encode())
    after = read_manifest("a.yaml", text.replace("one", "two").encode(), before)
    assert after.items[0] is before.items[0]
    assert [item.read.ref.name for item in after.items if item.read.ref] == ["web", "two"]
    assert after.problems == before.problems
    moved = read_manifest("a.yaml", f"# x\n{text}".encode(), after)
    assert [item.origin.line for item in moved.items] == [2, 6]
