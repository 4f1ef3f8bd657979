"""JSON patch, merge patch and strategic merge patch. Rule: a patch is a function from the old object to the new one.

Source: RFC 6902, RFC 7386, and the Kubernetes page "Strategic Merge Patch" (kubernetes/community sig-api-machinery).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes import errors, lists
from tests.fakes.kinds import Kind
from tests.fakes.storage import Object, copied

Patcher = Callable[[Object], Object]
MEDIA = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/strategic-merge-patch+json",
)


def patcher(kind: Kind, media: str, document: Any) -> Patcher:
    """What the patch does; raises 400 and 415."""
    if media == "application/json-patch+json":
        if not isinstance(document, list):
            raise errors.bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
            )
        return lambda old: json_patch(old, document)
    if media == "application/merge-patch+json":
        return lambda old: _whole(merge_patch(old, document))
    if media == "application/strategic-merge-patch+json" and kind.crd is None:
        return lambda old: _whole(strategic(old, document, (kind.kind,)))
    served = MEDIA[:3] if kind.crd is not None else MEDIA
    text = f"the body of the request was in an unknown format - accepted media types include: {', '.join(served)}"
    raise errors.unsupported_media_type(text)


def _whole(thing: Any) -> Object:
    if not isinstance(thing, dict):
        raise errors.bad_request("json: cannot unmarshal into Go value of type map[string]interface {}")
    return thing


def merge_patch(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(old: Object, operations: list[Any]) -> Object:
    """RFC 6902; raises 422 when an operation does not fit the object."""
    thing: Any = {"": copied(old)}
    for each in operations:
        try:
            _operate(thing, each)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            said = "the server rejected our request due to an error in our request"
            raise errors.StatusError(422, "Invalid", said, {}) from error
    return _whole(thing[""])


def _operate(thing: Any, each: Any) -> None:
    operation, path = each["op"], each["path"]
    match operation:
        case "add":
            _put(thing, path, copied(each["value"]), insert=True)
        case "remove":
            _take(thing, path)
        case "replace":
            _found(thing, path)
            _put(thing, path, copied(each["value"]), insert=False)
        case "move":
            _put(thing, path, _take(thing, each["from"]), insert=True)
        case "copy":
            _put(thing, path, copied(_found(thing, each["from"])), insert=True)
        case "test":
            if _found(thing, path) != each.get("value"):
                raise ValueError(f"testing value {path} failed")
        case _:
            raise ValueError(f"unexpected kind: {operation}")


def _steps(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise ValueError(f"path {path} does not begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]


def _parent(thing: Any, path: str) -> tuple[Any, str]:
    *before, last = _steps(path)
    for step in before:
        thing = thing[int(step)] if isinstance(thing, list) else thing[step]
    return thing, last


def _found(thing: Any, path: str) -> Any:
    parent, last = _parent(thing, path)
    return parent[int(last)] if isinstance(parent, list) else parent[last]


def _take(thing: Any, path: str) -> Any:
    parent, last = _parent(thing, path)
    return parent.pop(int(last)) if isinstance(parent, list) else parent.pop(last)


def _put(thing: Any, path: str, value: Any, *, insert: bool) -> None:
    parent, last = _parent(thing, path)
    if not isinstance(parent, list):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    elif insert:
        if int(last) > len(parent):
            raise IndexError(f"Unable to access invalid index: {last}")
        parent.insert(int(last), value)
    else:
        parent[int(last)] = value


def strategic(old: Any, patch: Any, path: tuple[str, ...]) -> Any:
    """A merge patch that merges the lists that have merge keys. `path` begins with the Kind."""
    if isinstance(patch, dict):
        return _strategic_map(old, patch, path)
    key = lists.patch_merge_key(path)
    if isinstance(patch, list) and key is not None:
        return _strategic_list(old if isinstance(old, list) else [], patch, key, path)
    return patch


def _strategic_map(old: Any, patch: Object, path: tuple[str, ...]) -> Any:
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            merged[field] = [each for each in merged.get(field) or [] if each not in value]
        elif name == "$retainKeys":
            merged = {field: merged[field] for field in merged if field in value}
        elif name.startswith("$"):
            continue
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = strategic(merged.get(name), value, (*path, name))
    return merged


def _strategic_list(old: list[Any], patch: list[Any], key: str, path: tuple[str, ...]) -> list[Any]:
    if not key:  # a set of plain values
        return [*old, *(each for each in patch if each not in old)]
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return [each for each in patch if "$patch" not in each]
    merged = list(old)
    for each in patch:
        if not isinstance(each, dict) or key not in each:
            raise errors.bad_request(f"map: {each} does not contain declared merge key: {key}")
        at = next((i for i, other in enumerate(merged) if other.get(key) == each[key]), None)
        if each.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(strategic({}, each, path))
        else:
            merged[at] = strategic(merged[at], each, path)
    return _ordered(old, merged, [each[key] for each in patch], key)


def _ordered(old: list[Any], merged: list[Any], patched: list[Any], key: str) -> list[Any]:
    """The patch's items in its order, each new one before what is only on the server."""
    places = {each.get(key): at for at, each in enumerate(old)}
    left = sorted((each for each in merged if each.get(key) in patched), key=lambda each: patched.index(each[key]))
    right = [each for each in merged if each.get(key) not in patched]
    result: list[Any] = []
    while left and right:
        new = left[0].get(key) not in places
        first = new or places[left[0][key]] < places[right[0].get(key)]
        result.append(left.pop(0) if first else right.pop(0))
    return [*result, *left, *right]
