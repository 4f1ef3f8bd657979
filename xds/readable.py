"""Encoded Resources as plain values for people: `weft translate`, the admin API, golden tests.

Rule: private keys are never shown, whatever asks.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

from xds import pb as _messages  # noqa: F401 - importing it makes every message known to the descriptor pool
from xds.resource import SECRET, TYPE_PREFIX, Resource

HIDDEN = "[hidden]"


def readable(resource: Resource) -> dict[str, Any]:
    """The resource's message in protobuf's JSON form with proto field names (protobuf.dev, ProtoJSON)."""
    # By way of its text: protobuf's own dict form holds OrderedDicts, which YAML writers do not know.
    shown: dict[str, Any] = json.loads(json_format.MessageToJson(decode(resource), preserving_proto_field_name=True))
    if resource.type_url == SECRET and "tls_certificate" in shown:
        shown["tls_certificate"]["private_key"] = HIDDEN
    return shown


def decode(resource: Resource) -> Message:
    """The resource's message again, from its bytes."""
    name = resource.type_url.removeprefix(TYPE_PREFIX)
    descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    message: Message = message_factory.GetMessageClass(descriptor)()
    message.ParseFromString(resource.body)
    return message
