"""What an API server does to a custom object before it looks at it: prune and default by its structural schema.

Rule: both follow the schema alone, and never judge: a value of the wrong type stays for validation to refuse.
Source: Kubernetes page "Extend the Kubernetes API with CustomResourceDefinitions" (pruning, defaulting, nullable).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Object = dict[str, Any]

TYPE_FIELDS = ("apiVersion", "kind")
META = frozenset({*TYPE_FIELDS, "metadata"})
OBJECT_META = frozenset(
    [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ]
)
KEEP = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"


def settle(thing: Object, schema: Schema) -> list[str]:
    """Prune unknown fields, drop nulls that may not be there, fill in defaults. Returns the pruned paths, sorted."""
    pruned = list(_prune_metadata(thing))
    pruned += sorted(_prune(thing, {**schema, EMBEDDED: True}, ""))
    drop_nulls(thing, schema)
    default(thing, schema)
    return pruned


def _prune_metadata(thing: Object) -> Iterator[str]:
    metadata = thing.get("metadata")
    if isinstance(metadata, dict):
        for name in sorted(metadata.keys() - OBJECT_META):
            del metadata[name]
            yield f"metadata.{name}"


def additional(schema: Schema) -> Schema | None:
    """The schema of values that are not named; None where none are allowed to stay."""
    found = schema.get("additionalProperties")
    return found if isinstance(found, Mapping) else {KEEP: True} if found is True else None


def of_field(schema: Schema | None, name: str) -> Schema | None:
    """The schema of a field; None where the schema says nothing of it."""
    if schema is None:
        return None
    found: Schema | None = (schema.get("properties") or {}).get(name)
    return found if found is not None else additional(schema)


def _prune(value: Any, schema: Schema | None, path: str) -> Iterator[str]:
    """Remove what no schema speaks of, and name each."""
    keep = bool(schema and schema.get(KEEP))
    if isinstance(value, dict):
        for name in list(value):
            if schema and schema.get(EMBEDDED) and name in META:
                continue
            field = f"{path}.{name}" if path else name
            inner = of_field(schema, name)
            if inner is not None:
                yield from _prune(value[name], inner, field)
            elif not keep:
                del value[name]
                yield field
    elif isinstance(value, list):
        items = (schema or {}).get("items")
        if items is None and keep:
            return
        if keep and items is not None and KEEP not in items:
            items = {**items, KEEP: True}
        for number, each in enumerate(value):
            yield from _prune(each, items, f"{path}[{number}]")


def _may_not_be_null(value: Any, schema: Schema | None) -> bool:
    return value is None and schema is not None and not schema.get("nullable")


def drop_nulls(value: Any, schema: Schema | None) -> None:
    """A null where the schema allows none and has no default is as if it were not there."""
    if isinstance(value, dict):
        for name in list(value):
            inner = of_field(schema, name)
            if _may_not_be_null(value[name], inner) and (inner or {}).get("default") is None:
                del value[name]
            else:
                drop_nulls(value[name], inner)
    elif isinstance(value, list):
        for each in value:
            drop_nulls(each, (schema or {}).get("items"))


def default(value: Any, schema: Schema | None) -> None:
    """Fill in defaults, also inside of what defaults brought."""
    if schema is None:
        return
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            wanted = inner.get("default")
            if wanted is not None and (name not in value or _may_not_be_null(value[name], inner)):
                value[name] = copy.deepcopy(wanted)
        for name in value:
            inner = of_field(schema, name)
            if _may_not_be_null(value[name], inner) and name not in (schema.get("properties") or {}):
                value[name] = copy.deepcopy((inner or {}).get("default"))
            default(value[name], inner)
    elif isinstance(value, list):
        items = schema.get("items") or {}
        for number, each in enumerate(value):
            if _may_not_be_null(each, items) and items.get("default") is not None:
                value[number] = copy.deepcopy(items["default"])
            default(value[number], items)
