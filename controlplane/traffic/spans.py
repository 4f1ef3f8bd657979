"""Windows as people and the SMI metrics API write them: `30s`, `1m30s`, `500ms` (Go's time.ParseDuration)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from controlplane.traffic.facts import LONGEST_WINDOW

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h)")


def window(text: str) -> timedelta:
    """The span that is meant. Raises ValueError with a sentence for what is none, nothing, or longer than is kept."""
    if len(text) > 40 or not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text[:40]!r} is no window such as 30s or 1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not 0 < seconds <= LONGEST_WINDOW.total_seconds():
        raise ValueError(f"{text!r} is no window: it must be more than 0 and at most {LONGEST_WINDOW.seconds // 60}m")
    return timedelta(seconds=seconds)


def written(seconds: float) -> str:
    """Seconds in the same way, such as `30s` or `25.013s`."""
    return f"{round(seconds, 3):g}s" if seconds < 1000 else f"{round(seconds)}s"
