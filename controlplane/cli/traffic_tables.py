"""Tables of traffic for people. Rule: a number is short and right-aligned, what is not known is a dash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from rich.table import Table
from rich.text import Text

from controlplane.cli.output import harmless
from controlplane.traffic.spans import written

Answer = dict[str, Any]
"""What the admin API says below /traffic."""
Row = dict[str, Any]


class Column(NamedTuple):
    """A heading, and what stands below it."""

    heading: str
    cell: Callable[[Row], str]
    number: bool = True
    shrinks: bool = False
    """Whether it is cut where the terminal is too narrow."""


def stat_table(answer: Answer, *, wide: bool) -> Table:
    """A line for each resource, or for each backend of a split."""
    rows = answer["rows"]
    split = any("backend" in row for row in rows)
    columns = [*_places(rows), Column("NAME", lambda row: row["name"], number=False)]
    columns += _BACKEND if split else _PODS
    columns += [*_HEALTH, *_QUANTILES]
    columns += [] if split else [Column("TCP", lambda row: _number(row["connections"]["open"]))]
    return table_of([*columns, *(_WIDE if wide else ())], rows)


def edge_table(answer: Answer, *, wide: bool) -> Table:
    """A line for each pair of caller and called."""
    rows = answer["rows"]
    ends = [
        Column("FROM", lambda row: _place(row["peer"]), number=False),
        Column("TO", _place, number=False),
    ]
    tcp = Column("TCP", lambda row: _number(row["connections"]["open"]))
    return table_of([*ends, *_HEALTH, *_QUANTILES, tcp, *(_WIDE if wide else ())], rows)


def top_table(answer: Answer, most: int) -> Table:
    """The same, the busiest first, with what was answered; so many lines at most."""
    rows = sorted(answer["rows"], key=lambda row: (-row["requests"], _place(row["peer"]), _place(row)))[:most]
    ends = [
        Column("FROM", lambda row: _place(row["peer"]), number=False),
        Column("TO", _place, number=False),
    ]
    return table_of([*ends, *_HEALTH, *_QUANTILES[:1], *_QUANTILES[2:], Column("CODES", _codes, number=False)], rows)


def note(answer: Answer) -> Text | None:
    """What a reader of the table should know: what time it is of, and who did not tell."""
    words = f"Over the last {written(round(answer['seconds'], 1))}."
    if not answer["rows"]:
        words = f"Nothing to tell of. {words}"
    if silent := answer["silent"]:
        shown = ", ".join(silent[:5]) + (" …" if len(silent) > 5 else "")
        words += f" {len(silent)} sidecar{'s do' if len(silent) > 1 else ' does'} not answer: {shown}"
    return Text(words, style="dim")


def table_of(columns: Sequence[Column], rows: Iterable[Row]) -> Table:
    """A line for each row, which has a `success_rate`."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0), collapse_padding=True)
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=not column.shrinks,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(
            *(Text(harmless(column.cell(row)), style=_style(column, row), no_wrap=True) for column in columns)
        )
    return table


def _style(column: Column, row: Row) -> str:
    rate = row["success_rate"]
    if column.heading != "SUCCESS" or rate is None:
        return ""
    return "green" if rate >= 0.99 else "yellow" if rate >= 0.95 else "red"


def _places(rows: Sequence[Row]) -> list[Column]:
    """The namespace, where resources have one."""
    namespaced = any("namespace" in row for row in rows)
    return [Column("NAMESPACE", lambda row: row.get("namespace", ""), number=False)] if namespaced else []


def _place(row: Row) -> str:
    """A resource in a few letters."""
    name = "/".join(filter(None, (row.get("namespace"), row["name"])))
    return f"{_SHORT[row['kind']]}/{name}" if row["kind"] in _SHORT else name


def _number(number: float | None) -> str:
    if number is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / (limit if unit != 'k' else 1e3):.1f}{unit}"
    return f"{number:g}" if number < 100 and number != int(number) else f"{number:.0f}"


def _rate(row: Row) -> str:
    return "-" if row["rps"] is None or not row["requests"] else f"{row['rps']:.1f}"


def success(row: Row) -> str:
    """Which part did not fail."""
    return "-" if row["success_rate"] is None else f"{row['success_rate'] * 100:.2f}%"


def milliseconds(number: float | None) -> str:
    """A time in a few letters."""
    if number is None:
        return "-"
    if number >= 1000:
        return f"{number / 1000:.1f}s"
    return f"{number:.1f}ms" if number < 10 else f"{number:.0f}ms"


def _codes(row: Row) -> str:
    return " ".join(f"{code}:{_number(number)}" for code, number in row["codes"].items()) or "-"


def _share(row: Row) -> str:
    share = row["backend"]["share"]
    return "-" if share is None else f"{share * 100:.1f}%"


def _quantile(name: str) -> Column:
    return Column(name.upper(), lambda row: milliseconds(row["latency_ms"][name]))


_SHORT: Final = {"Service": "svc", "ServiceAccount": "sa", "StatefulSet": "sts", "DaemonSet": "ds", "Job": "job"}
_PODS: Final = [Column("MESHED", lambda row: f"{row['pods']['meshed']}/{row['pods']['all']}")]
_BACKEND: Final = [
    Column("APEX", lambda row: row["backend"]["apex"], number=False),
    Column("BACKEND", lambda row: row["backend"]["name"], number=False),
    Column("WEIGHT", lambda row: str(row["backend"]["weight"])),
    Column("SHARE", _share),
]
_HEALTH: Final = [Column("SUCCESS", success), Column("RPS", _rate)]
_QUANTILES: Final = [_quantile("p50"), _quantile("p95"), _quantile("p99")]
_WIDE: Final = [
    Column("REQUESTS", lambda row: f"{row['requests']:.0f}"),
    Column("FAILED", lambda row: f"{row['failures']:.0f}"),
    Column("SENT", lambda row: _number(row["bytes"]["sent"])),
    Column("RECEIVED", lambda row: _number(row["bytes"]["received"])),
    Column("CODES", _codes, number=False),
]
