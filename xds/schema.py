"""Message classes from a table of fields, for messages that no generated class fits.

Rule: a table names fields by number and type and nothing else; what it leaves out is skipped when reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass


@dataclass(frozen=True, slots=True)
class Field:
    """A field. `kind` is a protobuf scalar (`string`, `bytes`, `int32`, …) or the name of a message of the table."""

    name: str
    number: int
    kind: str
    many: bool = False


def classes(pool: DescriptorPool, package: str, messages: Mapping[str, Sequence[Field]]) -> dict[str, Any]:
    """The classes by name. The messages are added to the pool, where their full names must be new."""
    file = FileDescriptorProto(name=f"weft/{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            added = message.field.add(name=field.name, number=field.number)
            added.label = FieldDescriptorProto.LABEL_REPEATED if field.many else FieldDescriptorProto.LABEL_OPTIONAL
            if field.kind in messages:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{field.kind}"
            else:
                added.type = FieldDescriptorProto.Type.Value(f"TYPE_{field.kind.upper()}")
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
