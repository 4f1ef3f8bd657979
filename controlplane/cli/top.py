"""`weft top`: the busiest pairs of a mesh, or the requests of one workload as they happen, put together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from controlplane.cli import options, tap, traffic
from controlplane.cli.output import fail
from controlplane.cli.traffic_tables import Column, milliseconds, success, table_of
from controlplane.client import Refusal, Unreachable
from controlplane.tap.busiest import Busiest

REFRESH: Final = 1.0
"""Seconds between two drawings of live requests."""
BESIDES: Final = 3
"""Lines on the screen that are no rows: the heading, the note, and the cursor's."""

What = Annotated[
    str,
    typer.Argument(
        metavar="[KIND|TARGET]",
        help="Pairs of this kind: deploy, svc, ns. Or live requests of deploy/NAME, sts/NAME, ns/NAME, NAMESPACE/POD.",
    ),
]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Of this namespace; of a workload: default.")]


def top(
    what: What = "deployments",
    namespace: Namespace = "",
    window: traffic.Window = traffic.DEFAULT_WINDOW_OF_TOP,
    path: tap.Path = "",
    method: tap.Method = "",
    status: tap.Status = "",
    peer: tap.Peer = "",
    port: tap.Port = 0,
    most: tap.Most = 0,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: tap.Admins = None,
) -> None:
    """Show the busiest pairs of caller and called, or a workload's requests by path, refreshed until Ctrl-C.

    Requests are counted from when the command began; --path, --method, --status, --peer, --port and --max are for them.
    """
    if "/" in what:
        asked = tap.Asked(what, namespace or "default", path, method, status, peer, port)
        return _live(tap.listen(tap.admins(admin, cluster), asked), most)
    if path or method or status or peer or port or most:
        fail(f"these options choose requests, and {what!r} is a kind: name a workload, such as deploy/NAME", 2)
    if admin and len(admin) > 1:
        fail("pairs are asked of one control plane: give --admin once", 2)
    return traffic.busiest_pairs(what, namespace, window, cluster, admin[0] if admin else None)


def _live(lines: Iterator[dict[str, Any]], most: int) -> None:
    """Draw until there were so many requests or somebody ends it; what was drawn last stays."""
    shown, console, over = Requests(), Console(), ""
    try:
        first = next(lines)
        if console.is_terminal:
            with Live(auto_refresh=False, screen=True, console=console) as live:
                for _ in _each_second(shown, first, lines, most):
                    live.update(shown.drawn(max(1, console.size.height - BESIDES)), refresh=True)
        else:
            for _ in _each_second(shown, first, lines, most):
                pass
    except KeyboardInterrupt:
        pass
    except (Unreachable, Refusal) as error:
        over = str(error)
    if shown.requests or not over:
        console.print(shown.drawn(max(1, console.size.height - BESIDES) if console.is_terminal else None))
    if over:
        fail(over, 1)


def _each_second(shown: Requests, first: dict[str, Any], lines: Iterator[dict[str, Any]], most: int) -> Iterator[None]:
    """Hear the lines, and stop at each moment at which it is time to draw."""
    due = 0.0
    shown.hear(first)
    for line in lines:
        shown.hear(line)
        if most and shown.requests >= most:
            return
        if (now := time.monotonic()) >= due:
            due = now + REFRESH
            yield


class Requests:
    """What was heard, and how it is drawn."""

    def __init__(self) -> None:
        self._busiest = Busiest()
        self._missed = 0
        self._pods = 0

    @property
    def requests(self) -> int:
        """How many were heard."""
        return self._busiest.requests

    def hear(self, line: dict[str, Any]) -> None:
        """One line of the admin API."""
        if "pod" in line:
            self._busiest.add(line)
        self._missed += line.get("missed", 0)
        self._pods = len(line["watching"]) if "watching" in line else self._pods

    def drawn(self, most: int | None = None) -> Group:
        """So many rows, the busiest first, and a note."""
        rows = self._busiest.rows()
        words = f"{self.requests} requests of {self._pods} pod{'' if self._pods == 1 else 's'}."
        if most is not None and len(rows) > most:
            words += f" Rows that are not shown: {len(rows) - most}."
        if self._missed:
            words += f" {self._missed} came too fast to be counted."
        table = table_of(COLUMNS, [{"row": row, "success_rate": row.success_rate} for row in rows[:most]])
        return Group(table, Text(words, style="dim"))


COLUMNS: Final = [
    Column("SOURCE", lambda of: of["row"].source, number=False, shrinks=True),
    Column("DESTINATION", lambda of: of["row"].destination, number=False, shrinks=True),
    Column("METHOD", lambda of: of["row"].method, number=False),
    Column("PATH", lambda of: of["row"].path, number=False, shrinks=True),
    Column("COUNT", lambda of: str(of["row"].count)),
    Column("BEST", lambda of: milliseconds(of["row"].best)),
    Column("WORST", lambda of: milliseconds(of["row"].worst)),
    Column("LAST", lambda of: milliseconds(of["row"].last)),
    Column("SUCCESS", success),
]
