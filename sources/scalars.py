"""What a YAML scalar is: text, number, true, false or nothing, read as the API server's own tools read it.

Rule: a file means here what it means to `kubectl apply`. That is YAML 1.1 with `yes`, `on` and `y`, with octal numbers,
but without sexagesimal numbers, and with dates as text. Source: sigs.k8s.io/yaml, goyaml.v2.
"""

from __future__ import annotations

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER: Final = re.compile(r"[-+]?(0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER: Final = 40

_TAGS: Final = {
    "tag:yaml.org,2002:str": (str,),
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (int, float),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
    "tag:yaml.org,2002:timestamp": (str,),
}


def plain_scalar(text: str) -> Scalar:
    """The value of a scalar without quotes and without a tag. Raises ValueError if JSON has no such value."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _NO_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is no number that JSON knows")
    digits = text.replace("_", "")
    number = _number(digits)
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return text if number is None else number


def _number(digits: str) -> int | float | None:
    whole = _INTEGER.fullmatch(digits)
    if not whole and not _FLOAT.fullmatch(digits):
        return None
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"{digits[:_LONGEST_NUMBER]}… is too long a number")
    if not whole:
        return float(digits)
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}{octal[2]}", 8) if octal else int(digits, 0)


def tagged_scalar(tag: str, text: str) -> Scalar:
    """The value of a scalar with a tag. Raises ValueError if it is not of that type, or the tag is not known."""
    if tag in {"!", "tag:yaml.org,2002:str"}:
        return text
    types = _TAGS.get(tag)
    if types is None:
        raise ValueError(f"tag {tag[:80]!r} is not supported")
    value = plain_scalar(text)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ValueError(f"{text[:40]!r} is not of the type {tag.rpartition(':')[2]}")
    return value
