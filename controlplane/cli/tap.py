"""`weft tap`: live requests of a workload, with who asked, what was answered, and why it was refused."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.text import Text

from controlplane.cli import options
from controlplane.cli.output import fail
from controlplane.cli.proxies import admin_client
from controlplane.client import AdminClient, Refusal, Unreachable
from controlplane.tap.wording import printable, short

Admins = Annotated[
    list[str] | None,
    typer.Option("--admin", help="An admin API's URL, where it is no local cluster; again for each replica."),
]
Path = Annotated[str, typer.Option(help="Only requests whose path begins so.")]
Method = Annotated[str, typer.Option(help="Only requests with this method.")]
Status = Annotated[str, typer.Option(help="Only answers with this status, such as 403 or 5xx.")]
Peer = Annotated[
    str,
    typer.Option(help="Only with this other side: NAMESPACE/SERVICEACCOUNT, NAMESPACE/SERVICE, NAMESPACE or address."),
]
Port = Annotated[int, typer.Option(help="Only requests to this port.")]
Most = Annotated[int, typer.Option("--max", help="End after so many requests; 0 never ends.")]


class Output(StrEnum):
    """How requests are printed."""

    TEXT = "text"
    JSON = "json"


def tap(
    target: Annotated[
        str,
        typer.Argument(
            help="POD (the beginning of its name is enough), NAMESPACE/POD, deploy/NAME, sts/NAME, ns/NAME."
        ),
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Of the pod or workload.")] = "default",
    path: Path = "",
    method: Method = "",
    status: Status = "",
    peer: Peer = "",
    port: Port = 0,
    most: Most = 0,
    output: Annotated[Output, typer.Option("--output", "-o", help="text, or json: one object a line.")] = Output.TEXT,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admins = None,
) -> None:
    """Watch requests as they happen. Ctrl-C ends it; sidecars then tell nothing any more.

    Shown are both directions: what the workload was asked, and what it asked others. A refusal comes with its reason.
    """
    wanted = Asked(target, namespace, path, method, status, peer, port)
    show = _show_json if output is Output.JSON else Shower()
    shown = 0
    try:
        for line in listen(admins(admin, name), wanted):
            shown += show(line)
            if most and shown >= most:
                return
    except KeyboardInterrupt:
        return
    except (Unreachable, Refusal) as error:
        fail(str(error), 1)


class Asked(NamedTuple):
    """Which requests somebody wants to see, as the route /tap takes it."""

    target: str
    namespace: str
    path: str = ""
    method: str = ""
    status: str = ""
    peer: str = ""
    port: int = 0


def admins(urls: list[str] | None, cluster: str) -> list[AdminClient]:
    """The admin APIs that were named, else the local cluster's."""
    return [AdminClient(url) for url in urls] if urls else [admin_client(None, cluster)]


def listen(clients: list[AdminClient], asked: Asked) -> Iterator[dict[str, Any]]:
    """What any of these control planes tells; an empty line at least every other second while they tell nothing.

    Raises what the first of them to fail raised: Unreachable or Refusal.
    """
    path = f"/tap?{urlencode({key: value for key, value in asked._asdict().items() if value})}"
    if len(clients) == 1:
        yield from _told(clients[0], path)
        return
    told: queue.Queue[dict[str, Any] | Exception] = queue.Queue(1_000)

    def listen(client: AdminClient) -> None:
        try:
            for line in _told(client, path):
                told.put(line)
        except Exception as error:
            told.put(error)

    for client in clients:
        threading.Thread(target=listen, args=(client,), daemon=True).start()
    while True:
        line = told.get()
        if isinstance(line, Exception):
            raise line
        yield line


def _told(client: AdminClient, path: str) -> Iterator[dict[str, Any]]:
    for text in client.lines(path):
        yield json.loads(text) if text.strip() else {}
    # Nobody ends it but who reads, or a control plane that ends itself.
    raise Unreachable(f"the control plane at {client.where} has ended; sidecars tell nothing until it is asked again")


def _show_json(line: dict[str, Any]) -> int:
    if "pod" not in line:
        return 0
    print(json.dumps(line), flush=True)
    return 1


_ARROWS: Final = {"inbound": "←", "outbound": "→"}


class Shower:
    """Prints lines for people. What is no request goes to standard error."""

    def __init__(self) -> None:
        self._out = Console(soft_wrap=True, highlight=False)
        self._aside = Console(soft_wrap=True, highlight=False, stderr=True)

    def __call__(self, line: dict[str, Any]) -> int:
        """Print one; how many requests it was."""
        if "pod" in line:
            self._out.print(as_text(line))
            return 1
        if "missed" in line:
            self._aside.print(f"{line['missed']} requests were not shown: they came too fast", style="dim")
        elif "watching" in line:
            self._aside.print(f"watching {', '.join(line['watching']) or 'no pod'}", style="dim")
        return 0


def as_text(line: dict[str, Any]) -> Text:
    """Time, pod, direction, peer and port, the request, status, milliseconds, and the reason."""
    time = datetime.fromtimestamp(line["time"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    status = line["status"]
    asked = printable(f"{line['method']} {line['authority']}{line['path']}" if line["method"] else line["protocol"])
    bad = status >= 400 or bool(line["reason"])
    return Text.assemble(
        (f"{time} ", "dim"),
        f"{line['pod']} {_ARROWS.get(line['direction'], '?')} {short(line['peer'])} :{line['port']}  {asked}  ",
        (str(status) if line["method"] else ("refused" if line["reason"] else "closed"), "red" if bad else "green"),
        f"  {line['milliseconds']:.1f} ms",
        (f"  {line['reason']}", "red") if line["reason"] else "",
    )
