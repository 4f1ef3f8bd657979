"""`weft exec`: a command in a pod of the local cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli import options
from controlplane.cli.output import fail
from local.state import StateError, exec_in_pod

USAGE = "usage: weft exec [--name NAME] [-c CONTAINER] NAMESPACE/POD -- COMMAND…"


def execute(
    context: typer.Context,
    pod: Annotated[str, typer.Argument(help="NAMESPACE/POD; a prefix of the pod's name is enough when it fits one.")],
    container: Annotated[str, typer.Option("-c", "--container", help="Whose user and environment to take.")] = "",
    name: options.ClusterName = options.DEFAULT_CLUSTER,
) -> None:
    """Run a command in a pod of the local cluster: `weft exec NAMESPACE/POD -- COMMAND`."""
    if not context.args:
        fail(USAGE)
    try:
        code = exec_in_pod(name, pod, context.args, container)
    except StateError as error:
        fail(str(error), 1)
    raise typer.Exit(code)
