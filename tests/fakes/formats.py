"""Formats of strings in schemas, and ranges of numbers. Rule: a format that is not here is not checked.

Source: apiextensions.k8s.io/v1, JSONSchemaProps.format.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

Check = Callable[[str], object]

RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
"""What integers of a format may be."""


def _date_time(text: str) -> object:
    if "T" not in text.upper() or datetime.fromisoformat(text.upper()).tzinfo is None:
        raise ValueError(text)
    return text


def _cidr(text: str) -> object:
    if "/" not in text:
        raise ValueError(text)
    return ipaddress.ip_network(text, strict=False)


CHECKS: dict[str, Check] = {
    "date-time": _date_time,
    "datetime": _date_time,
    "date": date.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": _cidr,
    "uuid": UUID,
    "byte": lambda text: base64.b64decode(text, validate=True),
}


def fits(text: str, wanted: str) -> bool:
    """Whether a string has the format."""
    check = CHECKS.get(wanted)
    if check is None:
        return True
    try:
        check(text)
    except ValueError:
        return False
    return True
