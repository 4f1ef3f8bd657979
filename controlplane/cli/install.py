"""`weft install`, `weft upgrade`, `weft uninstall` and `weft manifest`: Weft in a cluster, by its Helm chart."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from controlplane.cli import options
from controlplane.cli.output import fail, show_json
from controlplane.install import chart, release
from controlplane.install.chart import InstallError
from controlplane.install.release import Manner, Target
from kube.client import ApiError, ApiUnavailable, Client, ClientSettings, ConfigurationError

Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A value of the chart, such as controlPlane.replicas=3.")
]
ValuesFiles = Annotated[
    list[Path] | None, typer.Option("-f", "--values", help="A file of the chart's values.", dir_okay=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be applied; the API server is asked.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until all of it is ready.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for, with --wait.", min=1)]

FAILURES = (InstallError, ApiError, ApiUnavailable, ConfigurationError)


def install(
    settings: Settings = None,
    values: ValuesFiles = None,
    namespace: options.ReleaseNamespace = chart.NAMESPACE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 300.0,
) -> None:
    """Install Weft in a cluster: the control plane, the webhook, the SMI CRDs. `weft check --kubernetes` first."""
    try:
        made = release.install(_target(namespace, kubeconfig, context), chart.values(values or (), settings or ()),
                               _manner(dry_run, wait, timeout))  # fmt: skip
    except FAILURES as error:
        fail(str(error), 1)
    _show(made, dry_run)


def upgrade(
    settings: Settings = None,
    values: ValuesFiles = None,
    reset: Annotated[bool, typer.Option("--reset-values", help="Forget the values that were set earlier.")] = False,
    namespace: options.ReleaseNamespace = chart.NAMESPACE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 300.0,
) -> None:
    """Bring an installed Weft to this version, or to other values. CRDs are upgraded too; values set before stay."""
    try:
        made = release.upgrade(_target(namespace, kubeconfig, context), chart.values(values or (), settings or ()),
                               _manner(dry_run, wait, timeout), reset=reset)  # fmt: skip
    except FAILURES as error:
        fail(str(error), 1)
    _show(made, dry_run)


def uninstall(
    crds: Annotated[
        bool, typer.Option("--crds", help="Remove the SMI CRDs too, and with them EVERY object of their kinds.")
    ] = False,
    ca: Annotated[
        bool, typer.Option("--ca", help="Remove the issuer's key too: the next install is a new mesh.")
    ] = False,
    namespace: options.ReleaseNamespace = chart.NAMESPACE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout: Timeout = 300.0,
) -> None:
    """Remove Weft from a cluster. The SMI objects and their CRDs stay unless --crds says otherwise."""
    target = _target(namespace, kubeconfig, context)
    try:
        kept = release.uninstall(target, _manner(dry_run, wait, timeout))
        if not dry_run:
            asyncio.run(_tidy(target, crds=crds, ca=ca))
    except FAILURES as error:
        fail(str(error), 1)
    print(f"Weft {'would be' if dry_run else 'is'} uninstalled from {namespace}.")
    if kept and not crds:
        print(kept)
    print("Pods keep the sidecar they have until they are made anew: kubectl -n NAMESPACE rollout restart deployment")


async def _tidy(target: Target, *, crds: bool, ca: bool) -> None:
    client = await Client.open(target.client)
    try:
        async for name in release.leftovers(client, target, crds=crds, ca=ca):
            print(f"removed {name}", file=sys.stderr)
    finally:
        await client.close()


def manifest(
    settings: Settings = None,
    values: ValuesFiles = None,
    namespace: options.ReleaseNamespace = chart.NAMESPACE,
    as_json: options.AsJson = False,
) -> None:
    """Print what `weft install` would apply, in its order. No cluster is asked."""
    try:
        documents = chart.manifest(chart.values(values or (), settings or ()), namespace)
    except InstallError as error:
        fail(str(error), 1)
    if as_json:
        show_json(documents)
    else:
        yaml.safe_dump_all(documents, sys.stdout, sort_keys=False, width=120)


def _target(namespace: str, kubeconfig: Path | None, context: str | None) -> Target:
    return Target(client=ClientSettings(kubeconfig=kubeconfig, context=context), namespace=namespace)


def _manner(dry_run: bool, wait: bool, timeout: float) -> Manner:
    return Manner(dry_run=dry_run, wait=timeout if wait else None)


def _show(made: Mapping[str, Any], dry_run: bool) -> None:
    """The chart's notes; after a dry run, what would be applied."""
    print(made["manifest"] if dry_run else str(made["notes"]).strip())
