"""Documents of a file: each on its own, with lines, and with bounds."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from sources.nodes import MAX_DEPTH, MAX_VALUES, Node, Outlines
from sources.yaml_documents import Fault, documents


def read(text: str | bytes) -> list[Any]:
    """Plain values of good documents, Faults of the others."""
    content = text.encode() if isinstance(text, str) else text
    return [item.plain() if isinstance(item, Node) else item for item in documents(content)]


def fault(text: str | bytes) -> Fault:
    (found,) = read(text)
    assert isinstance(found, Fault), found
    return found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("\n# nothing\n---\n---\n# still nothing\n...\n", []),
        ("null\n---\n~\n", []),
        ("a: 1", [{"a": 1}]),
        ("a: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("---\na: 1\n--- # two\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("--- {a: 1}\n---\t\n{b: 2}\n", [{"a": 1}, {"b": 2}]),
        ("%YAML 1.1\n---\na: 1\n", [{"a": 1}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("\ufeffa: 1\n", [{"a": 1}]),
        ("a: |\n  --- x\n  y\nb: c---\n", [{"a": "--- x\ny\n", "b": "c---"}]),
        ('{"a": "\\ud83d\\ude00", "b": "\\\\ud83d", "c": [1]}', [{"a": "😀", "b": "\\ud83d", "c": [1]}]),
        ('{\n\t"a": 1\n}', [{"a": 1}]),
        ("1: a\ntrue: b\n2.5: c\n", [{"1": "a", "true": "b", "2.5": "c"}]),
        ("a: &x {p: 1}\nb: *x\nc: {<<: *x, q: 2}\nd: {<<: [*x, {p: 5, r: 3}], p: 9}\n",
         [{"a": {"p": 1}, "b": {"p": 1}, "c": {"q": 2, "p": 1}, "d": {"p": 9, "r": 3}}]),
        ("a: 'on'\nb: \"1\"\nc: >\n  x\n", [{"a": "on", "b": "1", "c": "x\n"}]),
        ("[]", [[]]),
        ("text", ["text"]),
    ],
)  # fmt: skip
def test_documents_are_read(text: str, values: list[Any]) -> None:
    assert read(text) == values


def test_what_python_writes_as_json_is_read() -> None:
    value = {"emoji": "😀\\😀", "quotes": '"\\"', "list": [1, 2.5, None, {"deep": [True]}], "ü": "\u2028\x7f"}
    assert read(json.dumps(value)) == [value]
    assert read(json.dumps(value, indent="\t")) == [value]


BROKEN = [
    "a: [",
    "a: b: c",
    "\tb: 1",
    "a: 'x",
    "{a: 1",
    "a: *missing",
    "a: &x [*x]",
    "a: &x {b: *x}",
    "a: !custom 1",
    "a: !!python/object/apply:os.system ['true']",
    "a: !!binary x",
    "a: .nan",
    "a: 1e999",
    "a: 1\na: 2",
    '{"a": 1, "a": 2}',
    "? [a]\n: 1",
    "? {a: 1}\n: 1",
    "~: 1",
    "a: \x01",
    'a: "\\ud800"',
    "@a",
    "a: `b`",
    "%FOO\n%BAR x\na: 1",
    "<<: 5",
    "a: &x 1\nb: &y *x",
    "}",
    b"a: \xff\xfe",
    b"\xff\xfea\x00",
    b"a: \x00",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_document_takes_no_neighbour_with_it(broken: str | bytes) -> None:
    middle = broken.encode() if isinstance(broken, str) else broken
    before, bad, after = read(b"a: 1\n---\n" + middle + b"\n---\nb: 2\n")
    assert before == {"a": 1}
    assert after == {"b": 2}
    assert isinstance(bad, Fault)
    assert bad.message
    assert "\n" not in bad.message
    assert bad.line >= 2


def test_what_follows_an_end_marker_without_a_new_document_is_a_fault() -> None:
    first, second = read("a: 1\n...\nb: 2\n")
    assert first == {"a": 1}
    assert isinstance(second, Fault)


def test_a_fault_is_where_it_is() -> None:
    found = read("a: 1\n---\n\nb: 1\nc: 2\nb: 3\n")[1]
    assert found == Fault(5, "says 'b' twice in the same map")


def test_every_value_knows_its_line() -> None:
    node = next(
        iter(documents(b"# one\n---\nspec:\n  ports:\n  - port: 80\n    name: a\n  - {port: 81}\n  a.b/c: x\n"))
    )
    assert isinstance(node, Node)
    lines = {
        "": 2, "spec": 2, "spec.ports": 3, "spec.ports[0]": 4, "spec.ports[0].port": 4, "spec.ports[0].name": 5,
        "spec.ports[1].port": 6, "spec[a.b/c]": 7, "spec.ports[7].port": 3, "spec.ports[0].missing": 4, "nothing": 2,
        "spec.ports[x]": 3,
    }  # fmt: skip
    outline = Outlines().of(node)
    assert outline is not None
    assert {path: node.line + outline.line_of(path) for path in lines} == lines


def test_documents_written_alike_have_one_outline_between_them() -> None:
    outlines = Outlines()
    first, second, other = [
        outlines.of(node)
        for node in documents(b"a:\n  b: 1\n---\n# moved\na:\n  b: [x]\n---\na:\n  b: [y]\n")
        if isinstance(node, Node)
    ]
    assert second is other
    assert first is not second


def test_nesting_has_an_end() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in ("[" * (MAX_DEPTH + 1), "{a: " * 100_000, "[" * 100_000, "- " * 50_000, "? " * 50_000):
        assert isinstance(read(text)[0], Fault)
    indented = "".join(f"{' ' * level}a:\n" for level in range(2000))
    assert "deeper" in fault(indented).message


def test_aliases_cannot_nest_deeper_than_text_can() -> None:
    deep = "[" * 60 + "]" * 60
    assert "deeper" in fault(f"a: &x {deep}\nb: {'[' * 60}*x{']' * 60}\n").message


def test_an_alias_bomb_is_counted_as_what_it_expands_to() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)]
    tracemalloc.start()
    started = time.perf_counter()
    found = fault("\n".join(lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(MAX_VALUES) in found.message
    assert time.perf_counter() - started < 1
    assert peak < 5_000_000


def test_a_merge_bomb_is_counted_too() -> None:
    keys = ", ".join(f"k{index}: 1" for index in range(1000))
    merges = "\n".join(f"m{index}: {{<<: *x}}" for index in range(400))
    assert str(MAX_VALUES) in fault(f"x: &x {{{keys}}}\n{merges}").message
