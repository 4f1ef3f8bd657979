"""Many files as one: Resources.

Rule: pure, and decided by the order of the files alone. An object written twice counts where it comes first. What
each file says alone was worked out when it was read, so that one that changes does not cost a look into all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from kube.problem import Problem, Ref, Severity
from smi.kinds import SmiObject
from smi.resources import Anything, Resources
from sources.manifest import Item, Manifest, Whole


def merged(manifests: Sequence[Manifest], own: Sequence[Manifest], problems: Iterable[Problem] = ()) -> Resources:
    """All objects of these files. Those of `own` stand in for others of the same name, without a Problem."""
    found = _disjoint([manifest.whole for manifest in (*manifests, *own)])
    return (
        _overlapping(manifests, own, problems)
        if found is None
        else replace(found, problems=(*problems, *found.problems))
    )


def _disjoint(files: Sequence[Whole]) -> Resources | None:
    """All objects of files that name each object once; None where any two name the same."""
    objects: dict[Ref, Anything] = {}
    invalid: set[Ref] = set()
    for file in files:
        objects.update(file.objects)
        invalid |= file.invalid
    named = sum(len(file.objects) + len(file.invalid) for file in files)
    if any(file.again for file in files) or len(objects) + len(invalid) < named or not invalid.isdisjoint(objects):
        return None
    problems = tuple(problem for file in files for problem in file.problems)
    return Resources(objects=objects, problems=problems, invalid=frozenset(invalid))


def _overlapping(manifests: Sequence[Manifest], own: Sequence[Manifest], problems: Iterable[Problem]) -> Resources:
    """The same object by object."""
    overlaid = {item.read.ref: item for manifest in own for item in manifest.items}
    chosen: dict[Ref, Item] = {}
    found: list[Problem] = [*problems]
    for manifest in (*manifests, *own):
        found += manifest.problems
        for item in manifest.items:
            found += _taken(item, chosen, overlaid)
    return Resources(
        objects={ref: item.read.object for ref, item in chosen.items() if item.read.object is not None},
        problems=tuple(found),
        invalid=frozenset(ref for ref, item in chosen.items() if item.read.object is None),
    )


def _taken(item: Item, chosen: dict[Ref, Item], overlaid: dict[Ref | None, Item]) -> Iterator[Problem]:
    """Take an object if it is the first of its name, and say what is wrong with it."""
    ref = item.read.ref
    if ref is None or not ref.name:
        yield from item.read.problems
    elif ref in overlaid and overlaid[ref] is not item:
        return
    elif ref in chosen:
        yield _duplicate(ref, item, chosen[ref])
    else:
        chosen[ref] = item
        yield from item.read.problems


def _duplicate(ref: Ref, item: Item, first: Item) -> Problem:
    same = _same(item.read.object, first.read.object)
    message = f"The object is at {first.origin} too; that one stays in force" + (
        ", and both say the same." if same else "."
    )
    severity = Severity.WARNING if same else Severity.ERROR
    return Problem(ref, "", message, "decode", severity, item.origin)


def _same(one: Anything | None, other: Anything | None) -> bool:
    """Whether two objects say the same, wherever they stand."""
    if isinstance(one, SmiObject) and isinstance(other, SmiObject):
        return replace(one, origin=None) == replace(other, origin=None)
    return one is not None and one == other


def reusing(fresh: Manifest, last: Manifest) -> Manifest:
    """The same manifest with the objects of the last one wherever they are equal: comparing them then costs nothing."""
    known = {item.read.ref: item.read.object for item in last.items}
    return replace(fresh, items=tuple(_reused(item, known.get(item.read.ref)) for item in fresh.items))


def _reused(item: Item, known: Anything | None) -> Item:
    if known is None or item.read.object != known:
        return item
    return replace(item, read=replace(item.read, object=known))
