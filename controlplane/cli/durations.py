"""Spans of time as people write them on a command line: `90s`, `30m`, `24h`, `365d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

import typer

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEST: Final = timedelta(seconds=10)
"""Shorter lives leave no time to renew in."""


def duration(text: str | timedelta) -> timedelta:
    """The span. Raises typer.BadParameter where it is none, or too short for a certificate."""
    if isinstance(text, timedelta):
        return text
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time such as 90s, 30m, 24h or 365d")
    span = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if span < SHORTEST:
        raise typer.BadParameter(f"{text!r} is shorter than {SHORTEST.total_seconds():.0f}s")
    return span


LeafLifetime = Annotated[
    timedelta,
    typer.Option(help="How long a sidecar's certificate lives; 7d at most.", parser=duration, metavar="SPAN",
                 envvar="WEFT_LEAF_LIFETIME", show_default="24h"),
]  # fmt: skip
IntermediateLifetime = Annotated[
    timedelta,
    typer.Option(help="How long an intermediate lives.", parser=duration, metavar="SPAN",
                 envvar="WEFT_INTERMEDIATE_LIFETIME", show_default="365d"),
]  # fmt: skip
RootLifetime = Annotated[
    timedelta,
    typer.Option(help="How long a root lives.", parser=duration, metavar="SPAN",
                 envvar="WEFT_ROOT_LIFETIME", show_default="3650d"),
]  # fmt: skip
