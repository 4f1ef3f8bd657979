"""`weft authz NAMESPACE/POD`: which rule lets whom in, and the answer to one concrete question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from controlplane.cli import describing, options
from controlplane.cli.describe import Files, Namespace, Output, asked, found, named, scene_of
from controlplane.cli.output import fail, show_json
from controlplane.cli.proxies import Admin, admin_client
from controlplane.describe.pods import authz_view, verdict_view
from controlplane.describe.questions import PLAINTEXT, Question, QuestionError, understood
from controlplane.describe.scene import Scene, UnknownError
from mesh.paths import UnclearPathError
from mesh.settings import Access, Mtls

From = Annotated[
    str,
    typer.Option("--from", help=f"Who calls: NAMESPACE/SERVICEACCOUNT, a SPIFFE ID, or {PLAINTEXT} (no sidecar)."),
]


def authz(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/POD or POD; a prefix that fits alike pods is enough.")],
    namespace: Namespace = "default",
    caller: From = "",
    port: Annotated[
        int | None, typer.Option(help="With --from: the container port; needed where there are several.")
    ] = None,
    method: Annotated[str, typer.Option(help="With --from: the request's method.")] = "GET",
    path: Annotated[str, typer.Option(help="With --from: the request's path, with its query.")] = "/",
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", help="With --from: 'name: value'; `host` is the authority.")
    ] = None,
    tcp: Annotated[bool, typer.Option("--tcp", help="With --from: a connection that is not HTTP.")] = False,
    filename: Files = None,
    output: Output = "",
    access: options.AccessMode = Access.ENFORCED,
    mtls: options.MtlsMode = Mtls.STRICT,
    cluster: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Show who may call a pod and because of which TrafficTarget; with --from, whether one call is let in.

    With --from the exit code is 0 where the call is let in and 1 where it is refused.
    """
    if output not in {"", "json"}:
        fail(f"{output!r} is no output; there is json")
    question = Question(caller=caller, port=port, method=method, path=path, header=header or [], tcp=tcp)
    view = found(lambda: _look(named(pod, namespace), question, filename, (access, mtls), (admin, cluster)))
    if output == "json":
        show_json(view)
    else:
        describing.show(describing.verdict_parts(view) if caller else describing.authz_parts(view))
    if caller and not view["allowed"]:
        raise typer.Exit(1)


def _look(
    pod: tuple[str, str],
    question: Question,
    filename: list[Path] | None,
    modes: tuple[Access, Mtls],
    where: tuple[str | None, str],
) -> dict[str, Any]:
    """What the running mesh or manifests say. Raises UnknownError and Unreachable."""
    if filename:
        return _in_files(scene_of(filename, *modes), pod, question)
    if not question.caller:
        return asked(admin_client(*where), "/authz/" + "/".join(map(quote, pod)))
    words = urlencode(question.model_dump(exclude_none=True), doseq=True)
    return asked(admin_client(*where), f"/verdict/{'/'.join(map(quote, pod))}?{words}")


def _in_files(scene: Scene, pod: tuple[str, str], question: Question) -> dict[str, Any]:
    if not question.caller:
        return authz_view(scene, *pod)
    try:
        call = understood(scene, pod, question)
        return verdict_view(scene, pod, call.caller, call.port, call.request)
    except (QuestionError, UnclearPathError) as error:
        raise UnknownError(str(error)) from None
