"""`weft stat`, `weft edges`, and `weft top` of pairs: who sends how much to whom, how well and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from controlplane.cli import options
from controlplane.cli.output import fail, show_json
from controlplane.cli.proxies import Admin, admin_client
from controlplane.cli.traffic_tables import Answer, edge_table, note, stat_table, top_table
from controlplane.client import Unreachable
from controlplane.traffic.embedded import FIRST_ANSWER
from controlplane.traffic.facts import DEFAULT_WINDOW
from controlplane.traffic.spans import window as read_window

WIDEST: Final = 1000
"""Columns of a table at most."""
DEFAULT_WINDOW_OF_TOP: Final = timedelta(seconds=10)
REFRESH: Final = 2.0
"""Seconds between two looks of --watch and of `weft top`."""


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


def _window(text: str | timedelta) -> timedelta:
    if isinstance(text, timedelta):
        return text
    try:
        return read_window(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Window = Annotated[
    timedelta,
    typer.Option("-t", "--window", help="What time is told of: 30s, 5m.", parser=_window, metavar="SPAN",
                 show_default="30s"),
]  # fmt: skip
Output = Annotated[Format, typer.Option("-o", "--output", help="table, wide or json.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Of this namespace only.")]
Watch = Annotated[bool, typer.Option("-w", "--watch", help="Look again and again, until Ctrl-C.")]
KindOf = Annotated[
    str, typer.Argument(metavar="[KIND[/NAME]]", help="deploy, pods, ns, svc, ts, sts, ds, jobs, nodes.")
]
Name = Annotated[str, typer.Argument(metavar="[NAME]", help="One of that name only.")]
Caller = Annotated[str, typer.Option("--from", help="What this one sent them: KIND/NAME or KIND/NAMESPACE/NAME.")]
Called = Annotated[str, typer.Option("--to", help="What they sent to this one: KIND/NAME or KIND/NAMESPACE/NAME.")]


def stat(
    kind: KindOf = "deployments",
    name: Name = "",
    namespace: Namespace = "",
    caller: Caller = "",
    called: Called = "",
    window: Window = DEFAULT_WINDOW,
    output: Output = Format.TABLE,
    watch: Watch = False,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Show what was asked of workloads, Services or splits: success, requests per second, latency, connections."""
    kind, _, named = kind.partition("/")
    asked = {"kind": kind, "namespace": namespace, "name": named or name, "caller": caller, "called": called}
    asking = _asking((admin, cluster), "/traffic/stat", asked, window)
    _show(asking, output, lambda answer: stat_table(answer, wide=output is Format.WIDE), watch=watch)


def edges(
    kind: KindOf = "deployments",
    namespace: Namespace = "",
    window: Window = DEFAULT_WINDOW,
    output: Output = Format.TABLE,
    watch: Watch = False,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Show who called whom: workloads (deploy), Services (svc) or namespaces (ns), as callers' sidecars saw it."""
    asked = {"kind": kind, "namespace": namespace}
    asking = _asking((admin, cluster), "/traffic/edges", asked, window)
    _show(asking, output, lambda answer: edge_table(answer, wide=output is Format.WIDE), watch=watch)


def busiest_pairs(kind: str, namespace: str, window: timedelta, cluster: str, admin: str | None) -> None:
    """Show the busiest pairs of caller and called, refreshed until Ctrl-C."""
    asked = {"kind": kind, "namespace": namespace}
    asking = _asking((admin, cluster), "/traffic/edges", asked, window)
    height = Console().size.height - 3
    _show(asking, Format.TABLE, lambda answer: top_table(answer, max(1, height)), watch=True)


def _asking(
    where: tuple[str | None, str], path: str, asked: Mapping[str, str], window: timedelta
) -> Callable[[], Answer]:
    """Asks the control plane at this URL, else of this cluster; a refusal ends the command with its words."""
    client = admin_client(*where, FIRST_ANSWER + 5)
    query = urlencode({**{key: text for key, text in asked.items() if text}, "window": window.total_seconds()})

    def ask() -> Answer:
        try:
            status, answer = client.ask("GET", f"{path}?{query}", {})
        except Unreachable as error:
            fail(str(error), 1)
        if status != 200:
            fail(
                str(answer.get("detail", answer)) if isinstance(answer, dict) else str(answer), 2 if status < 500 else 1
            )
        found: dict[str, Any] = answer
        return found

    return ask


def _show(ask: Callable[[], Answer], output: Format, drawn: Callable[[Answer], RenderableType], *, watch: bool) -> None:
    if not watch:
        answer = ask()
        if output is Format.JSON:
            show_json(answer)
        else:
            # What is wider than the terminal goes on beyond it, as with kubectl.
            table, wide = drawn(answer), Console(width=WIDEST)
            Console(width=max(Console().width, wide.measure(table).maximum)).print(table)
            if words := note(answer):
                Console(stderr=True, soft_wrap=True).print(words)
        return
    try:
        if output is Format.JSON:
            while True:
                show_json(ask())
                time.sleep(REFRESH)
        with Live(drawn(ask()), auto_refresh=False, screen=Console().is_terminal) as live:
            while True:
                time.sleep(REFRESH)
                live.update(drawn(ask()), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
