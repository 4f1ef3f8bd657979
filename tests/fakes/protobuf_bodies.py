"""Bodies in Kubernetes' protobuf encoding. Rule: only the kinds are read that Go clients send to this server.

Go's typed clients (Helm's storage of releases) write protobuf, and read JSON where they are answered with it. Fields
that only a server sets are passed over. Source: Kubernetes API concepts, "Protobuf encoding"; core/v1 and meta/v1
generated.proto.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

MAGIC = b"k8s\x00"
STRINGS = "map<string,string>"
BYTES = "map<string,bytes>"

MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "TypeMeta": {1: ("apiVersion", "string"), 2: ("kind", "string")},
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "bytes")},
    "ObjectMeta": {
        1: ("name", "string"), 2: ("generateName", "string"), 3: ("namespace", "string"), 5: ("uid", "string"),
        6: ("resourceVersion", "string"), 11: ("labels", STRINGS), 12: ("annotations", STRINGS),
    },
    "Secret": {1: ("metadata", "ObjectMeta"), 2: ("data", BYTES), 3: ("type", "string"), 4: ("stringData", STRINGS)},
    "Namespace": {1: ("metadata", "ObjectMeta")},
    "DeleteOptions": {4: ("propagationPolicy", "string"), 5: ("dryRun", "repeated string")},
}  # fmt: skip
"""Message → field number → name and type."""

SCALARS = {"string": 9, "bytes": 12}
"""FieldDescriptorProto.Type."""


def decoded(body: bytes) -> dict[str, Any] | None:
    """The document; None where it is of a kind that is not read here, or none at all."""
    try:
        envelope: Any = _types()["Unknown"].FromString(body.removeprefix(MAGIC))
        kind = envelope.typeMeta.kind
        if not body.startswith(MAGIC) or kind not in MESSAGES:
            return None
        document = json_format.MessageToDict(_types()[kind].FromString(envelope.raw))
    except DecodeError:
        return None
    return {"apiVersion": envelope.typeMeta.apiVersion, "kind": kind, **document}


@cache
def _types() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="weft_fake_bodies.proto", package="weft.fake", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            _add(message, number, field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName(file.name)
    return {name: message_factory.GetMessageClass(found.message_types_by_name[name]) for name in MESSAGES}


def _add(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: str) -> None:
    field: Any = message.field.add(name=name, number=number, json_name=name)
    if kind in {STRINGS, BYTES}:
        entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _add(entry, 1, "key", "string")
        _add(entry, 2, "value", "bytes" if kind == BYTES else "string")
        field.label, field.type, field.type_name = 3, 11, f".weft.fake.{message.name}.{entry.name}"
        return
    plain = kind.removeprefix("repeated ")
    field.label = 1 if plain == kind else 3
    if plain in SCALARS:
        field.type = SCALARS[plain]
    else:
        field.type, field.type_name = 11, f".weft.fake.{plain}"
