"""What an object can't say in the version it is in, kept in an annotation (rule V2).

Rule: each piece is kept with a fingerprint of the value it belongs to, and is forgotten once that value has changed: it
may have been meant for something else. An annotation that can't be read holds nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from kube.objects import RawDocument

ANNOTATION: Final = "weft.dev/converted"
"""JSON: by the name of a piece, `{"for": fingerprint, "was": value}`, or a list of those."""


class Kept:
    """The pieces that one object carries beside what its version can say."""

    def __init__(self) -> None:
        self._pieces: dict[str, Any] = {}

    @classmethod
    def of(cls, raw: RawDocument) -> Kept:
        """Those in a document's annotation."""
        kept, metadata = cls(), raw.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        text = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
        try:
            pieces = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            pieces = None
        kept._pieces = pieces if isinstance(pieces, dict) else {}
        return kept

    def into(self, raw: RawDocument) -> RawDocument:
        """The document with these pieces in its annotation, and no others."""
        metadata = raw.get("metadata")
        metadata = dict(metadata) if isinstance(metadata, dict) else {}
        annotations = metadata.get("annotations")
        annotations = dict(annotations) if isinstance(annotations, dict) else {}
        had = annotations.pop(ANNOTATION, None) is not None
        if self._pieces:
            annotations[ANNOTATION] = json.dumps(self._pieces, separators=(",", ":"))
        if annotations:
            metadata["annotations"] = annotations
        elif had:
            metadata.pop("annotations")
        return {**raw, "metadata": metadata}

    def keep(self, name: str, value: object, original: object) -> None:
        """Keep what a value of the new version was in the old one."""
        self._pieces[name] = {"for": _fingerprint(value), "was": original}

    def recall(self, name: str, value: object) -> Any:
        """What this value was; None where nothing is kept for it."""
        piece = self._pieces.get(name)
        return piece.get("was") if isinstance(piece, dict) and piece.get("for") == _fingerprint(value) else None

    def strip(self, name: str, items: object, field: str) -> Any:
        """A list without one field of its items, which is kept for each of them."""
        if not isinstance(items, list):
            return items
        bare = [_without(item, field) for item in items]
        prints = [_fingerprint(item) for item in bare]
        narrowed = {mark for mark, item in zip(prints, items, strict=True) if _has(item, field)}
        if narrowed:
            self._pieces[name] = [
                {"for": mark, **({"was": item[field]} if _has(item, field) else {})}
                for mark, item in zip(prints, items, strict=True)
                if mark in narrowed
            ]
        return bare

    def restore(self, name: str, items: object, field: str) -> Any:
        """The list again with that field, in the items that have not changed."""
        pieces = self._pieces.get(name)
        if not isinstance(items, list) or not isinstance(pieces, list):
            return items
        waiting: dict[object, list[dict[str, Any]]] = {}
        for piece in pieces:
            if isinstance(piece, dict) and isinstance(piece.get("for"), str):
                waiting.setdefault(piece["for"], []).append(piece)
        return [_restored(item, field, waiting.get(_fingerprint(item), [])) for item in items]


def _restored(item: Any, field: str, pieces: list[dict[str, Any]]) -> Any:
    """An item with the field of the first piece kept for items like it. Equal items are told apart by their order."""
    piece = pieces.pop(0) if pieces else {}
    return {**item, field: piece["was"]} if isinstance(item, dict) and "was" in piece else item


def _has(item: Any, field: str) -> bool:
    return isinstance(item, dict) and item.get(field) is not None


def _without(item: Any, field: str) -> Any:
    return {key: value for key, value in item.items() if key != field} if isinstance(item, dict) else item


def _fingerprint(value: object) -> str:
    """Which value this is, whatever order its fields are in."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def without(body: RawDocument, names: Iterable[str]) -> RawDocument:
    """A map without some of its fields."""
    left_out = frozenset(names)
    return {key: value for key, value in body.items() if key not in left_out}
