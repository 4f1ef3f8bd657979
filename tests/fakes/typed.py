"""Built-in kinds decoded: unknown fields fall away, wrong types are a 400. Rule: types come from the official client.

Source: the generated models of the `kubernetes` package (openapi_types, attribute_map).
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

from tests.fakes import errors
from tests.fakes.kinds import Kind, words

Object = dict[str, Any]
_MAP = re.compile(r"^[Dd]ict[\[(]str, (.+)[\])]$")
_LIST = re.compile(r"^[Ll]ist\[(.+)\]$")
_GO = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}
_SPECIAL = {
    ("", "Event"): "CoreV1Event",
    ("events.k8s.io", "Event"): "EventsV1Event",
    ("discovery.k8s.io", "EndpointPort"): "DiscoveryV1EndpointPort",
}
# Booleans that are not shown when they are false, where others are.
OMITTED_WHEN_FALSE = words(
    "globalDefault preserveUnknownFields hostNetwork hostPID hostIPC publishNotReadyAddresses paused unschedulable "
    "stdin stdinOnce tty nullable uniqueItems exclusiveMaximum exclusiveMinimum x-kubernetes-embedded-resource "
    "x-kubernetes-int-or-string"
)
KEPT_EMPTY = frozenset({"rules", "subsets", "endpoints", "ports"})
QUANTITIES = frozenset({"limits", "requests", "capacity", "allocatable", "hard", "used", "overhead"})


@cache
def _models() -> Any:
    return importlib.import_module("kubernetes.aio.client")


@cache
def _fields(model: str) -> dict[str, str] | None:
    """JSON field name -> type of a model; None when there is no such model."""
    found = getattr(_models(), model, None)
    if found is None:
        return None
    return {found.attribute_map[name]: kind for name, kind in found.openapi_types.items()}


@cache
def _shape(kind: str) -> tuple[str, str]:
    """A type as the client names it: (`map`, `list`, `struct` or `plain`, type of the parts)."""
    if found := _MAP.match(kind):
        return "map", found[1]
    if found := _LIST.match(kind):
        return "list", found[1]
    return ("plain" if _fields(kind) is None else "struct"), ""


@cache
def model_of(group: str, version: str, kind: str) -> str:
    """The model's name, or an empty text when the client has none."""
    name = _SPECIAL.get((group, kind), f"{version[0].upper()}{version[1:]}{kind}")
    return name if _fields(name) is not None else ""


def decoded(kind: Kind, thing: Object, model: str = "") -> tuple[Object, list[str]]:
    """`thing` as its type holds it, and the paths of unknown fields; raises 400 for a wrong type."""
    model = model or model_of(kind.group, kind.version, kind.kind)
    if not model:
        return thing, []
    unknown: list[str] = []
    found = _Decoder(kind, unknown).struct(thing, model, "")
    return found, unknown


class _Decoder:
    def __init__(self, kind: Kind, unknown: list[str]) -> None:
        self._kind = kind
        self._unknown = unknown
        self._holder = ""

    def struct(self, thing: Any, model: str, path: str) -> Object:
        if not isinstance(thing, dict):
            raise self._wrong(thing, path, model.removeprefix("V1"))
        fields = _fields(model) or {}
        found: Object = {}
        for name, value in thing.items():
            where = f"{path}.{name}" if path else name
            self._holder = model
            if name not in fields:
                self._unknown.append(where)
            elif value is not None and not (value is False and name in OMITTED_WHEN_FALSE):
                decoded_value = self.value(value, fields[name], where)
                if decoded_value != [] or name in KEPT_EMPTY:
                    found[name] = decoded_value
                if decoded_value == {} and _shape(fields[name])[0] == "map":
                    del found[name]
        return found

    def value(self, value: Any, kind: str, path: str) -> Any:
        if kind == "object" or value is None or (kind == "str" and isinstance(value, str)):
            return value
        shape, inner = _shape(kind)
        if shape == "map":
            if not isinstance(value, dict):
                raise self._wrong(value, path, "map")
            if path.rpartition(".")[2] in QUANTITIES:
                return {name: str(each) for name, each in value.items()}
            return {name: self.value(each, inner, f"{path}[{name}]") for name, each in value.items()}
        if shape == "list":
            if not isinstance(value, list):
                raise self._wrong(value, path, "slice")
            return [self.value(each, inner, f"{path}[{at}]") for at, each in enumerate(value)]
        if shape == "struct":
            return self.struct(value, kind, path)
        return self._plain(value, kind, path)

    def _plain(self, value: Any, kind: str, path: str) -> Any:
        wanted: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
        types = wanted.get(kind, (str,) if kind == "datetime" else (object,))
        if isinstance(value, bool) and bool not in types and object not in types:
            raise self._wrong(value, path, kind)
        if not isinstance(value, types):
            if kind == "str" and path.rpartition(".")[2] in {"sizeLimit", "averageValue", "value", "divisor"}:
                return str(value)
            raise self._wrong(value, path, {"str": "string", "int": "int32"}.get(kind, kind))
        return value

    def _wrong(self, value: Any, path: str, wanted: str) -> errors.StatusError:
        kind = self._kind
        given = _GO.get(type(value), "value")
        field = re.sub(r"\[[^]]*\]", "", path)
        holder = re.sub(r"^(Core)?V\d+", "", self._holder)
        return errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"json: cannot unmarshal {given} into Go struct field {holder}.{field} of type {wanted}"
        )
