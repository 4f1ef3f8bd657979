"""`weft up --kubernetes`: this machine as a node of a cluster, with the control plane in it and the webhook beside it.

Rule: outside, the machine is used as it is; inside, nothing is reached but the API server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from controlplane.beside import API_SOCKET, NODE_KUBECONFIG, BesideError, BesideSettings, beside
from controlplane.cli.cluster import WEFT, until_stopped
from controlplane.cli.output import fail
from kube.client import ApiError
from kube.kubeconfig import alone
from kube.names import subdomain_fault
from kube.settings import ClientSettings, ConfigurationError
from local.kubelet.agent import Agent, AgentSettings
from local.kubelet.registration import NodeTakenError
from local.node import NodeError, enter, single_user
from local.sandbox import SandboxError
from local.settings import POD_NETWORK, ClusterSettings, Event
from local.state import CONTROL_SOCKET, StateError
from proxy import ports


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the user asked for; `mesh` are options of `weft run`."""

    kubeconfig: Path | None
    context: str | None
    node_name: str
    webhook: bool
    bind: bool
    name: str
    trust_domain: str
    mesh: tuple[str, ...]
    observe: Callable[[Event], Any]


def up(chosen: Chosen, state: Path | None) -> None:
    """Outside of the node (`state` is None): what runs beside it, and the node itself; inside: the node's agent."""
    if state is not None:
        _inside(chosen, state)
        return
    if fault := subdomain_fault(chosen.node_name):
        fail(f"--node-name {fault}", 2)
    try:
        kubeconfig = alone(ClientSettings(chosen.kubeconfig, chosen.context))
        settings = BesideSettings(
            kubeconfig=kubeconfig, webhook=_webhook(chosen) if chosen.webhook else None, observe=chosen.observe
        )
        code = enter([*WEFT, *sys.argv[1:]], chosen.name, partial(beside, settings=settings))
    except (NodeError, StateError, ConfigurationError, BesideError) as error:
        fail(str(error), 1)
    raise typer.Exit(code)


def _webhook(chosen: Chosen) -> tuple[str, ...]:
    """The webhook's command, told what is different on one machine (`local.injection`)."""
    drafts = [option for option in chosen.mesh if option == "--identity-bindings"]
    command = (*WEFT, "webhook", "--trust-domain", chosen.trust_domain, *drafts)
    if not single_user():
        return command
    gateway = POD_NETWORK.partition("/")[0].rpartition(".")[0] + ".1/32"
    return (*command, "--proxy-mark", str(ports.PROXY_MARK), "--exclude-outbound-cidrs", gateway)


def _inside(chosen: Chosen, state: Path) -> None:
    kubeconfig = state / NODE_KUBECONFIG
    control_plane = (
        *WEFT, "run", "--kubernetes", "--kubeconfig", str(kubeconfig),
        # The webhook beside the node has a certificate of its own.
        "--webhook-certificate", "cert-manager", "--drain-seconds", "0",
        "--admin-socket", str(state / CONTROL_SOCKET), *chosen.mesh,
    )  # fmt: skip
    cluster = ClusterSettings(
        state=state, name=chosen.name, paths=(Path.cwd(),), control_plane=control_plane,
        trust_domain=chosen.trust_domain, observe=chosen.observe,
    )  # fmt: skip
    settings = AgentSettings(
        cluster=cluster,
        kubeconfig=kubeconfig,
        port=alone(ClientSettings(kubeconfig)).port,
        socket=state / API_SOCKET,
        name=chosen.node_name,
        bind=chosen.bind,
    )
    said = ""
    try:
        asyncio.run(until_stopped(Agent(settings).run))
    except* (NodeTakenError, SandboxError, ApiError, ConfigurationError, OSError) as group:
        # To raise here would only make another group.
        said = "; ".join(str(error) for error in _leaves(group))
    if said:
        fail(said, 1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
