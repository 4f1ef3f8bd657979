"""`weft check`: does everything hold, on this machine or in a cluster."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from controlplane.check import Line, checks
from controlplane.cli import options
from controlplane.cli.output import harmless, show_json
from controlplane.cli.proxies import Admin, admin_client
from controlplane.install.chart import NAMESPACE
from controlplane.install.look import cluster
from kube.client import ClientSettings


def check(
    as_json: options.AsJson = False,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Look at a cluster, not at this machine.")] = False,
    namespace: options.ReleaseNamespace = NAMESPACE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Check this machine and the running mesh; each line says what holds, or how to mend it. Exit 1 if any fails.

    With --kubernetes (or --kubeconfig, or --context) a cluster: before Weft is installed whether it can be, afterwards
    whether it is well.
    """
    if kubernetes or kubeconfig or context:
        lines = asyncio.run(cluster(ClientSettings(kubeconfig=kubeconfig, context=context), namespace))
    else:
        lines = checks(admin_client(admin, name), name)
    if as_json:
        show_json([{"ok": line.ok, "sentence": line.sentence, "hint": line.hint} for line in lines])
    else:
        for line in lines:
            _show(line)
    if not all(line.ok for line in lines):
        raise typer.Exit(1)


def _show(line: Line) -> None:
    mark = ("✓ ", "green") if line.ok else ("× ", "red")
    Console(soft_wrap=True).print(Text.assemble(mark, harmless(line.sentence)))
    if not line.ok and line.hint:
        Console(soft_wrap=True).print(Text(harmless(f"  {line.hint}"), style="dim"))
