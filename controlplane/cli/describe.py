"""`weft describe pod|service NAME`: one thing and all that the mesh makes of it, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import RenderableType

from controlplane.cli import describing, options
from controlplane.cli.output import fail, show_json
from controlplane.cli.proxies import Admin, admin_client
from controlplane.client import AdminClient, Unreachable
from controlplane.describe.pods import pod_view
from controlplane.describe.scene import Scene, UnknownError
from controlplane.describe.services import service_view
from mesh.settings import Access, MeshSettings, Mtls

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace; NAMESPACE/NAME names it too.")]
Files = Annotated[
    list[Path] | None,
    typer.Option("-f", "--filename", help="Look at manifests instead of a running mesh.", exists=True),
]
Output = Annotated[str, typer.Option("-o", "--output", help="`json` for everything that is known, as JSON.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be described: its name in commands and paths, how it is looked up, and how it looks."""

    name: str
    view: Callable[[Scene, str, str], dict[str, Any]]
    parts: Callable[[dict[str, Any]], Iterable[RenderableType]]


POD = Kind("pod", pod_view, describing.pod_parts)
SERVICE = Kind("service", service_view, describing.service_parts)

describe = typer.Typer(
    help="Say of a pod or a Service who may call it, how it is split, and why.", no_args_is_help=True
)


def scene_of(paths: list[Path], access: Access, mtls: Mtls) -> Scene:
    """What manifests come to, without running anything."""
    from controlplane.cli.manifests import understood  # noqa: PLC0415 - reading manifests is needed for files only

    settings = MeshSettings(access=access, mtls=mtls)
    resources, mesh, problems = understood(paths, settings)
    return Scene(resources, mesh, settings, problems, proxies=None)


def named(text: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of what a person wrote."""
    before, slash, after = text.rpartition("/")
    if slash and (not before or not after or "/" in before):
        fail(f"{text!r} is not of the form NAMESPACE/NAME")
    return (before or namespace, after)


def found(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a look finds, or one sentence and exit 1."""
    try:
        return look()
    except (UnknownError, Unreachable) as error:
        fail(str(error), 1)


def asked(client: AdminClient, path: str) -> dict[str, Any]:
    """An answer of the admin API. Raises UnknownError and Unreachable."""
    status, answer = client.ask("GET", path, {})
    if status == 200:
        return dict(answer)
    detail = answer.get("detail") if isinstance(answer, dict) else None
    if status == 404 and detail == "Not Found":
        raise Unreachable(f"the control plane at {client.where} is older than this command")
    raise UnknownError(detail if isinstance(detail, str) else f"the control plane answers {status}")


@describe.command("pod")
def pod(
    name: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME; a prefix that fits alike pods is enough.")],
    namespace: Namespace = "default",
    filename: Files = None,
    output: Output = "",
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """A pod: who may call it, which modes hold and because of what, its sidecar, its Problems."""
    _describe(POD, named(name, namespace), (filename, access, mtls), admin_client(admin, cluster), output)


@describe.command("service")
def service(
    name: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME.")],
    namespace: Namespace = "default",
    filename: Files = None,
    output: Output = "",
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """A Service: how its calls are split and what each backend gets, who may make them, and the pods behind it."""
    _describe(SERVICE, named(name, namespace), (filename, access, mtls), admin_client(admin, cluster), output)


def _describe(
    kind: Kind, place: tuple[str, str], files: tuple[list[Path] | None, Access, Mtls], client: AdminClient, output: str
) -> None:
    if output not in {"", "json"}:
        fail(f"{output!r} is no output; there is json")
    paths, access, mtls = files
    path = f"/describe/{kind.name}/{'/'.join(map(quote, place))}"
    view = found(lambda: kind.view(scene_of(paths, access, mtls), *place) if paths else asked(client, path))
    if output == "json":
        show_json(view)
    else:
        describing.show(kind.parts(view))
