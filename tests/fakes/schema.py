"""Validation of custom objects by their structural schema, with an API server's words.

Rule: a cause has the reason, field and message that a real API server gives; what is checked and in which order within
a value follows it too. Rules in CEL (`x-kubernetes-validations`) are not evaluated: `unsupported` names them, so that
nobody believes they were.
Source: apiextensions.k8s.io/v1 JSONSchemaProps; Kubernetes page "Validation", and on updates "Validation ratcheting".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

from tests.fakes.errors import Cause
from tests.fakes.formats import RANGES, fits
from tests.fakes.structural import additional

Schema = Mapping[str, Any]
NOTHING: Any = object()
"""Where an update has no earlier value to compare with."""


@dataclass
class Result:
    """Causes found, and how many checks passed: of several alternatives the one that got furthest is reported."""

    causes: list[Cause] = field(default_factory=list)
    passed: int = 0

    def merge(self, other: Result) -> None:
        self.causes += other.causes
        self.passed += other.passed


@dataclass(frozen=True)
class Place:
    """Where a value is. `old` is the value that an update replaces."""

    path: str
    old: Any = NOTHING

    def child(self, name: str) -> Place:
        old = self.old.get(name, NOTHING) if isinstance(self.old, dict) else NOTHING
        return Place(f"{self.path}.{name}", old)

    def item(self, number: int, old: Any = NOTHING) -> Place:
        return Place(f"{self.path}[{number}]", old)

    @property
    def field(self) -> str:
        return self.path.removeprefix(".")


def problems(thing: Mapping[str, Any], schema: Schema, old: Mapping[str, Any] | None = None) -> list[Cause]:
    """What breaks the schema. What an update leaves as it was is not held against it."""
    found = _value(thing, schema, Place("", NOTHING if old is None else old)).causes
    return found + list(_unique(thing, schema, ""))


def shown(value: Any) -> str:
    """A value in a message: strings quoted, numbers plain, the rest as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def invalid(place: str, value: Any, detail: str, reason: str = "FieldValueInvalid") -> Cause:
    return Cause(place or "<nil>", f"Invalid value: {shown(value)}: {detail}", reason)


def _wrong_type(place: Place, wanted: str, got: str) -> Cause:
    detail = f"{place.field} in body must be of type {wanted}: {json.dumps(got)}"
    return invalid(place.field, got, detail, "FieldValueTypeInvalid")


def types(schema: Schema) -> list[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return ["integer", "string"]
    return [schema["type"]] if schema.get("type") else []


def type_of(value: Any) -> str:
    """The name of a JSON value's type."""
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "null"


_FORMATS = {"integer": "int64", "number": "float64"}


def _value(value: Any, schema: Schema, place: Place) -> Result:
    result = Result()
    checks: list[Callable[[Any, Schema, Place], Iterator[Cause | Result]]] = [_type]
    if value is None:
        checks += [_enum]
    else:
        checks += [_alternatives, *_CHECKS.get(type_of(value), ()), _enum]
        if isinstance(value, dict):
            checks += [_object]
    for check in checks:
        found = Result()
        for each in check(value, schema, place):
            if isinstance(each, Cause):
                found.causes.append(each)
            else:
                found.merge(each)
        found.passed += not found.causes
        result.merge(found)
    if result.causes and place.old is not NOTHING and place.old == value:
        return Result(passed=result.passed)
    return result


def _type(value: Any, schema: Schema, place: Place) -> Iterator[Cause]:
    wanted = types(schema)
    if not wanted:
        return
    got = type_of(value)
    if value is None:
        if not schema.get("nullable"):
            yield _wrong_type(place, ",".join(wanted), "null")
        return
    whole = got == "number" and float(value).is_integer() and "integer" in wanted
    if got not in wanted and not whole and not (got == "integer" and "number" in wanted):
        form = schema.get("format")
        if form and got not in {"string", "array"}:  # an API server then speaks of formats
            yield _wrong_type(place, form, _FORMATS.get(got, ""))
        else:
            yield _wrong_type(place, ",".join(wanted), got)


def _alternatives(value: Any, schema: Schema, place: Place) -> Iterator[Cause | Result]:
    if any_of := schema.get("anyOf"):
        yield from _any_of([_value(value, each, place) for each in any_of], place)
    if one_of := schema.get("oneOf"):
        yield from _one_of([_value(value, each, place) for each in one_of], place)
    if all_of := schema.get("allOf"):
        results = [_value(value, each, place) for each in all_of]
        yield from results
        failed = sum(1 for each in results if each.causes)
        if failed:
            more = ". None validated" if failed == len(results) else ""
            yield invalid("", "", f'"{place.field}" must validate all the schemas (allOf){more}')
    if (never := schema.get("not")) is not None and not _value(value, never, place).causes:
        yield invalid("", "", f'"{place.field}" must not validate the schema (not)')


def _best(results: Sequence[Result]) -> Result:
    return max(results, key=lambda each: each.passed)


def _any_of(results: Sequence[Result], place: Place) -> Iterator[Cause | Result]:
    good = [each for each in results if not each.causes]
    if not good:
        yield invalid("", "", f'"{place.field}" must validate at least one schema (anyOf)')
    yield good[0] if good else _best(results)


def _one_of(results: Sequence[Result], place: Place) -> Iterator[Cause | Result]:
    good = [each for each in results if not each.causes]
    if len(good) == 1:
        yield good[0]
        return
    many = f"Found {len(good)} valid alternatives" if good else "Found none valid"
    yield invalid("", "", f'"{place.field}" must validate one and only one schema (oneOf). {many}')
    if not good:
        yield _best(results)


def _string(value: str, schema: Schema, place: Place) -> Iterator[Cause]:
    """The first thing that is wrong with its length or pattern, and its format."""
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is not None and len(value) > longest:
        unit = "byte" if longest == 1 else "bytes"
        yield Cause(place.field, f"Too long: may not be more than {longest} {unit}", "FieldValueTooLong")
    elif shortest is not None and len(value) < shortest:
        yield invalid(place.field, value, f"{place.field} in body should be at least {shortest} chars long")
    elif pattern and not re2.search(pattern, value):
        yield invalid(place.field, value, f"{place.field} in body should match '{pattern}'")
    wanted = schema.get("format", "")
    if not fits(value, wanted):
        detail = f"{place.field} in body must be of type {wanted}: {json.dumps(value)}"
        yield invalid(place.field, value, detail, "FieldValueTypeInvalid")


def _number(value: float, schema: Schema, place: Place) -> Iterator[Cause]:
    lowest, highest = RANGES.get(schema.get("format", ""), (None, None))
    if lowest is not None and highest is not None and not lowest <= value <= highest:
        kind, form = (types(schema) or ["integer"])[0], schema["format"]
        detail = f"Checked value must be of type {kind} with format {form} in {place.field}"
        yield invalid("", "", detail)
    step = schema.get("multipleOf")
    if step is not None and value % step:
        yield invalid(place.field, value, f"{place.field} in body should be a multiple of {step}")
    # A bound of a whole number is cut to a whole number first, as an API server does.
    bound = type(value)
    least, most = (bound(schema[name]) if name in schema else None for name in ("minimum", "maximum"))
    if least is not None and (value <= least if schema.get("exclusiveMinimum") else value < least):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(place.field, value, f"{place.field} in body should be {than} {least}")
    if most is not None and (value >= most if schema.get("exclusiveMaximum") else value > most):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(place.field, value, f"{place.field} in body should be {than} {most}")


def _array(value: list[Any], schema: Schema, place: Place) -> Iterator[Cause | Result]:
    items = schema.get("items")
    if items is not None:
        for number, each in enumerate(value):
            yield _value(each, items, place.item(number, _earlier(each, schema, place.old)))
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        yield invalid(place.field, len(value), f"{place.field} in body should have at least {least} items")
    if most is not None and len(value) > most:
        yield _too_many(place, len(value), most)


def _earlier(item: Any, schema: Schema, old: Any) -> Any:
    """The item of the old list that this one replaces: only lists of type map say which."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return NOTHING
    name = [item.get(key) for key in keys or ()]
    return next(
        (each for each in old if isinstance(each, dict) and [each.get(key) for key in keys or ()] == name), NOTHING
    )


def _too_many(place: Place, count: int, most: int) -> Cause:
    unit = "item" if most == 1 else "items"
    return Cause(place.field, f"Too many: {count}: must have at most {most} {unit}", "FieldValueTooMany")


def _enum(value: Any, schema: Schema, place: Place) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed and not any(type(each) is type(value) and each == value for each in allowed):
        names = ", ".join(json.dumps(each if isinstance(each, str) else shown(each)) for each in allowed)
        yield Cause(
            place.field, f"Unsupported value: {shown(value)}: supported values: {names}", "FieldValueNotSupported"
        )


def _object(value: dict[str, Any], schema: Schema, place: Place) -> Iterator[Cause | Result]:
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        yield invalid(place.field, len(value), f"{place.field} in body should have at least {least} properties")
    if most is not None and len(value) > most:
        yield _too_many(place, len(value), most)
    named, other = schema.get("properties") or {}, additional(schema)
    for name, each in value.items():
        inner = named.get(name, other)
        if inner is not None:
            yield _value(each, inner, place.child(name))
    for name in schema.get("required") or ():
        if name not in value:
            yield Cause(place.child(name).field, "Required value", "FieldValueRequired")


_CHECKS: dict[str, Sequence[Callable[[Any, Schema, Place], Iterator[Cause | Result]]]] = {
    "string": (_string,),
    "integer": (_number,),
    "number": (_number,),
    "array": (_array,),
}


def _unique(value: Any, schema: Schema | None, path: str) -> Iterator[Cause]:
    """Lists of type set and map hold nothing twice."""
    if schema is None:
        return
    if isinstance(value, dict):
        for name, each in value.items():
            inner = (schema.get("properties") or {}).get(name)
            yield from _unique(each, inner if inner is not None else additional(schema), f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind in {"set", "map"}:
            yield from _twice([_key(each, schema) if kind == "map" else each for each in value], path)
        for number, each in enumerate(value):
            yield from _unique(each, schema.get("items"), f"{path}[{number}]")


def _key(item: Any, schema: Schema) -> Any:
    found = item if isinstance(item, dict) else {}
    return {key: found[key] for key in schema.get("x-kubernetes-list-map-keys") or () if key in found}


def _twice(keys: Sequence[Any], path: str) -> Iterator[Cause]:
    """One cause for each key that comes again, at its second place."""
    seen: dict[str, int] = {}
    for number, key in enumerate(keys):
        text = shown(key)
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 2:
            yield Cause(f"{path}[{number}]", f"Duplicate value: {text}", "FieldValueDuplicate")


def unsupported(schema: Schema, path: str = "") -> Iterator[str]:
    """Where a schema asks for what is not done here."""
    if schema.get("x-kubernetes-validations"):
        yield f"{path or '.'}: x-kubernetes-validations"
    for name, inner in (schema.get("properties") or {}).items():
        yield from unsupported(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield from unsupported(schema[name], f"{path}.{name}")
