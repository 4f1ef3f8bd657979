"""Server-side apply: who owns which field. Rule: applied fields are the manager's; taking another's needs force.

Source: Kubernetes page "Server-Side Apply", sigs.k8s.io/structured-merge-diff (fieldpath, merge).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.fakes import errors, fieldsets
from tests.fakes.errors import Cause
from tests.fakes.fieldsets import Paths
from tests.fakes.kinds import Kind
from tests.fakes.requests import Call, is_true
from tests.fakes.storage import Object

if TYPE_CHECKING:
    from tests.fakes.api import Api

Manager = tuple[str, str, str]  # name, operation, subresource


def unchanged(old: Object, new: Object) -> bool:
    """Whether a write would store what is stored already, managers' times aside."""
    return _without_times(old) == _without_times(new)


def _without_times(thing: Object) -> Object:
    metadata = dict(thing["metadata"])
    metadata.pop("resourceVersion", None)
    entries = metadata.pop("managedFields", None) or []
    metadata["managedFields"] = [{k: v for k, v in each.items() if k != "time"} for each in entries]
    return {**thing, "metadata": metadata}


def managers(thing: Object) -> dict[Manager, tuple[Object, Paths]]:
    """The entries of managedFields: the entry as it is and the paths it owns."""
    found = {}
    for each in thing["metadata"].get("managedFields") or []:
        who = (each.get("manager", ""), each.get("operation", ""), each.get("subresource", ""))
        found[who] = (each, fieldsets.decoded(each.get("fieldsV1") or {}))
    return found


def check_applied(call: Call, wanted: Any) -> None:
    """What an apply request must have."""
    if not isinstance(wanted, dict) or not wanted.get("kind") or not wanted.get("apiVersion"):
        raise errors.bad_request("invalid object type: /, Kind=")
    if not call.query.get("fieldManager"):
        cause = Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    metadata = wanted.setdefault("metadata", {})
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    metadata.setdefault("name", call.name)
    if metadata["name"] != call.name:
        text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        raise errors.bad_request(text)


def applied(call: Call, old: Object, wanted: Object) -> Object:
    """The object after an apply; raises 409 naming the other managers."""
    kind = call.kind
    mine = (call.manager, "Apply", call.subresource)
    held = managers(old)
    want = _writable(call, fieldsets.of(kind, wanted))
    _refuse_conflicts(call, kind, held, mine, want, old, wanted)
    merged = fieldsets.merged(kind, old, wanted)
    before = held.get(mine, ({}, frozenset()))[1]
    others: set[fieldsets.Path] = set()
    for who, (_entry, paths) in held.items():
        if who != mine:
            others |= paths
    gone = [path for path in before - want if path not in others]
    merged = fieldsets.without(merged, gone, want | others)
    merged["metadata"]["managedFields"] = old["metadata"].get("managedFields", [])
    return merged


def _refuse_conflicts(
    call: Call,
    kind: Kind,
    held: dict[Manager, tuple[Object, Paths]],
    mine: Manager,
    want: Paths,
    old: Object,
    new: Object,
) -> None:
    if is_true(call.query.get("force", "")):
        return
    causes, said = [], []
    for who, (entry, paths) in sorted(held.items()):
        if who == mine:
            continue
        taken = [path for path in want & paths if fieldsets.value(old, path) != fieldsets.value(new, path)]
        if not taken:
            continue
        by = f'conflict with "{who[0]}"' + (f' with subresource "{who[2]}"' if who[2] else "")
        by += f" using {entry.get('apiVersion', kind.api_version)}" if who[1] == "Update" else ""
        shown = sorted(fieldsets.shown(path) for path in taken)
        causes += [Cause(field, by, "FieldManagerConflict") for field in shown]
        said.append((by, shown))
    if causes:
        count = f"Apply failed with {len(causes)} conflict{'s' if len(causes) > 1 else ''}: "
        raise errors.apply_conflict(count + _listed(said), causes)


def _listed(said: list[tuple[str, list[str]]]) -> str:
    if sum(len(fields) for _by, fields in said) == 1:
        return f"{said[0][0]}: {said[0][1][0]}"
    groups = [
        [by.replace("conflict with", "conflicts with", 1) + ":", *(f"- {field}" for field in fields)]
        for by, fields in said
    ]
    return "\n".join(line for group in groups for line in group)


def tracked(api: Api, call: Call, old: Object | None, new: Object) -> Object:
    """`new` with managedFields that say what this request did."""
    if call.verb == "patch" and call.request.headers.get("content-type", "").startswith("application/apply-patch"):
        return _tracked_apply(api, call, old, new)
    if new["metadata"].get("managedFields") == [{}] or new["metadata"].get("managedFields") == []:
        return {**new, "metadata": {k: v for k, v in new["metadata"].items() if k != "managedFields"}}
    held = managers(old) if old is not None else {}
    mine = (call.manager, "Update", call.subresource)
    only_status = call.subresource == "status" and "status" in call.kind.subresources
    now = fieldsets.of(call.kind, {"status": new.get("status", {})} if only_status else new)
    now = _writable(call, now)
    changed = {
        path for path in now if old is None or fieldsets.value(old, path) != fieldsets.value(new, path)
    }  # fmt: skip
    entries: dict[Manager, tuple[Object, Paths]] = {}
    for who, (entry, paths) in held.items():
        if only_status and who[2] != "status":
            entries[who] = (entry, paths)
            continue
        kept = frozenset(path for path in paths if fieldsets.has(new, path))
        if who != mine:
            kept -= changed
        entries[who] = (entry, kept)
    entry, paths = entries.get(mine, ({}, frozenset()))
    if changed:
        entries[mine] = ({**entry, "time": api.now()}, paths | changed)
    return _with(call, new, entries)


def _tracked_apply(api: Api, call: Call, old: Object | None, new: Object) -> Object:
    mine = (call.manager, "Apply", call.subresource)
    want = _writable(call, fieldsets.of(call.kind, call_body(call)))
    held = managers(old) if old is not None else {}
    entries: dict[Manager, tuple[Object, Paths]] = {}
    for who, (entry, paths) in held.items():
        kept = frozenset(path for path in paths if fieldsets.has(new, path))
        if who != mine and old is not None:
            taken = {path for path in kept & want if fieldsets.value(old, path) != fieldsets.value(new, path)}
            kept -= taken
        entries[who] = (entry, kept)
    before = held.get(mine, ({}, frozenset()))
    same = before[1] == want and old is not None and bool(before[0])
    entries[mine] = (before[0] if same else {"time": api.now()}, want)
    return _with(call, new, entries)


def call_body(call: Call) -> Object:
    """The applied configuration."""
    from tests.fakes.requests import decoded  # noqa: PLC0415 - kept beside its only use

    body: Object = decoded(call.request.body, "application/apply-patch+yaml")
    return body


def _order(item: tuple[Manager, tuple[Object, Paths]]) -> tuple[bool, str, Manager]:
    """Those who apply first, then by time."""
    who, (entry, _paths) = item
    return who[1] != "Apply", entry.get("time", ""), who


def _writable(call: Call, paths: Paths) -> Paths:
    """What a request can own: status by its subresource only, and by it nothing else."""
    if "status" not in call.kind.subresources:
        return paths
    of_status = {path for path in paths if path[0] == "f:status"}
    return frozenset(of_status) if call.subresource == "status" else paths - of_status


def _with(call: Call, new: Object, entries: dict[Manager, tuple[Object, Paths]]) -> Object:
    shown = []
    for (name, operation, subresource), (entry, paths) in sorted(entries.items(), key=_order):
        if not paths:
            continue
        made = {
            "manager": name,
            "operation": operation,
            "apiVersion": entry.get("apiVersion", call.kind.api_version),
            "time": entry.get("time", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldsets.encoded(paths),
        }
        if subresource:
            made["subresource"] = subresource
        shown.append(made)
    metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
    if shown:
        metadata["managedFields"] = shown
    return {**new, "metadata": metadata}
