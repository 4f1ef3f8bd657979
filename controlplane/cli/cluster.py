"""`weft up` and `weft down`: a cluster of one machine that runs manifests, or a node of an API server's cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from controlplane import logs
from controlplane.cli import observing, options
from controlplane.cli.output import fail
from local.cluster import Cluster
from local.node import NodeError, enter, entered
from local.settings import ClusterSettings, Event
from local.state import CONTROL_SOCKET, StateError
from local.state import down as end_cluster
from mesh.settings import Access, AccessLog, Egress, Mtls

WEFT = (sys.executable, "-P", "-m", "controlplane.cli.main")
"""Ourselves as a command; -P keeps folders of the working directory from standing in for our packages."""

Run = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def up(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders of Kubernetes manifests.", exists=True)
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Be a node of the cluster of an API server instead of reading PATHS.")
    ] = False,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    node_name: Annotated[str, typer.Option(help="With --kubernetes: the node's name; else the cluster's.")] = "",
    webhook: Annotated[
        bool, typer.Option("--webhook/--no-webhook", help="With --kubernetes: run the webhook, install the SMI CRDs.")
    ] = True,
    bind: Annotated[
        bool, typer.Option("--bind/--no-bind", help="With --kubernetes: take pods that have no node.")
    ] = True,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    trust_domain: options.TrustDomain = options.DEFAULT_TRUST_DOMAIN,
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    egress: options.EgressMode = Egress.ALLOWED,
    identity_bindings: options.IdentityBindings = False,
    access_log: options.AccessLogMode = AccessLog.OFF,
    tap: options.Tap = True,
    trace_collector: observing.TraceCollector = "",
    trace_sampling: observing.TraceSampling = observing.DEFAULT_SAMPLING,
    log_collector: observing.LogCollector = "",
    log_level: Annotated[str, typer.Option(help="The control plane's: debug, info, warning or error.")] = "info",
    as_json: options.AsJson = False,
) -> None:
    """Run manifests on this machine: pods as network namespaces, with real sidecars. Ctrl-C ends it."""
    logs.configure(log_level)
    if kubernetes == bool(paths) or (not kubernetes and (kubeconfig or context or node_name)):
        fail("Name either PATHS, or --kubernetes (and --kubeconfig, --context, --node-name).", 2)
    observe = show_event_as_json if as_json else show_event
    mesh = (
        "--trust-domain", trust_domain, "--access", access, "--mtls", mtls, "--egress", egress,
        "--access-log", access_log, "--tap" if tap else "--no-tap",
        *observing.handed_on(trace_collector, trace_sampling, log_collector),
        *["--identity-bindings"] * identity_bindings, "--log-level", log_level,
    )  # fmt: skip
    state = entered()
    if kubernetes:
        # Importing the official client takes half a second, which only those pay who need it.
        from controlplane.cli import node  # noqa: PLC0415

        chosen = node.Chosen(kubeconfig, context, node_name or name, webhook, bind, name, trust_domain, mesh, observe)
        node.up(chosen, state)
        return
    if state is None:
        try:
            code = enter([*WEFT, *sys.argv[1:]], name)
        except (NodeError, StateError) as error:
            fail(str(error), 1)
        raise typer.Exit(code)
    control_plane = (
        *WEFT, "run", *map(str, paths or ()), "--ca", str(state / "ca"), "--overlay", str(state / "objects"),
        "--admin-socket", str(state / CONTROL_SOCKET), *mesh,
    )  # fmt: skip
    settings = ClusterSettings(
        state=state, name=name, paths=tuple(path.resolve() for path in paths or ()), control_plane=control_plane,
        trust_domain=trust_domain, observe=observe,
    )  # fmt: skip
    asyncio.run(until_stopped(Cluster(settings).run))


async def until_stopped(run: Run) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(stop)


def show_event(event: Event) -> None:
    """Print one thing that happened, as a line."""
    line = Text.assemble((f"{event.what:<10} ", "dim"), (event.subject, "bold"), f"  {event.text}")
    Console(soft_wrap=True).print(line)


def show_event_as_json(event: Event) -> None:
    """Print one thing that happened, as a line of JSON."""
    print(json.dumps(dataclasses.asdict(event)), flush=True)


def down(name: options.ClusterName = options.DEFAULT_CLUSTER, as_json: options.AsJson = False) -> None:
    """End a local cluster that runs elsewhere; nothing of it stays on this machine."""
    try:
        end_cluster(name)
    except StateError as error:
        fail(str(error), 1)
    print(json.dumps({"ended": name}) if as_json else f"{name} has ended")
