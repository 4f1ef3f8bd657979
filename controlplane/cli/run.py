"""`weft run`: the control plane alone, reading manifests from folders."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from ca.storage import StorageError
from controlplane import logs
from controlplane.app import control_plane
from controlplane.cli import options
from controlplane.cli.output import fail
from controlplane.settings import ControlPlaneSettings
from mesh.settings import Access, Egress, MeshSettings, Mtls
from proxy import ports

DEFAULT_CA_FOLDER = Path("weft-ca")


def run(
    paths: options.Paths,
    ca_folder: Annotated[
        Path, typer.Option("--ca", help="Where keys are kept; made when missing.")
    ] = DEFAULT_CA_FOLDER,
    overlay: Annotated[Path | None, typer.Option(help="A folder whose objects win over those in PATHS.")] = None,
    xds_port: Annotated[int, typer.Option(help="Where sidecars connect.")] = ports.XDS,
    admin_port: Annotated[int, typer.Option(help="The admin API, on loopback.")] = ports.CONTROL_PLANE_ADMIN,
    admin_socket: Annotated[Path | None, typer.Option(help="The admin API on a Unix socket too.")] = None,
    trust_domain: options.TrustDomain = options.DEFAULT_TRUST_DOMAIN,
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    egress: options.EgressMode = Egress.ALLOWED,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the control plane alone: objects from PATHS, kept up to date as the files change."""
    logs.configure(log_level)
    settings = ControlPlaneSettings(
        paths=tuple(paths), ca_folder=ca_folder, overlay=overlay, xds_port=xds_port,
        admin_port=admin_port, admin_socket=admin_socket,
        mesh=MeshSettings(trust_domain=trust_domain, access=access, mtls=mtls, egress=egress),
    )  # fmt: skip
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (StorageError, OSError) as error:
        fail(str(error), 1)


async def serve(settings: ControlPlaneSettings) -> None:
    """Run a control plane until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await control_plane(settings).run(stop)
