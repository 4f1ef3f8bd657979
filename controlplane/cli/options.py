"""Options that several commands share, so that each is spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ca.issuers import TRUST_DOMAIN as NAME
from mesh.settings import Access, AccessLog, Egress, MeshSettings, Mtls


def check_domains(names: list[str] | None) -> list[str] | None:
    """Refuse what is no trust domain."""
    for name in names or ():
        if not NAME.fullmatch(name):
            raise typer.BadParameter(f"{name!r} is not a trust domain (SPIFFE-ID §2.1)")
    return names


Paths = Annotated[list[Path], typer.Argument(help="Files or folders of Kubernetes manifests.", exists=True)]
Filenames = Annotated[
    list[Path], typer.Option("-f", "--filename", help="A file or a folder of manifests.", exists=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ClusterName = Annotated[str, typer.Option("--name", help="The name of the local cluster.", envvar="WEFT_CLUSTER")]
TrustDomain = Annotated[str, typer.Option(help="What SPIFFE IDs begin with.")]
TrustDomainAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-domain-alias",
        help="Another trust domain under the same root whose identities count as ours.",
        envvar="WEFT_TRUST_DOMAIN_ALIASES",
        callback=check_domains,
    ),
]
Federation = Annotated[
    Path | None,
    typer.Option("--federation", help="A file of other trust domains to federate with.", envvar="WEFT_FEDERATION"),
]
BundlePort = Annotated[
    int | None,
    typer.Option("--bundle-port", help="Serve our SPIFFE bundle to other meshes here.", envvar="WEFT_BUNDLE_PORT"),
]
AccessMode = Annotated[Access, typer.Option("--access", help="Whether TrafficTargets are enforced by default.")]
MtlsMode = Annotated[Mtls, typer.Option("--mtls", help="Whether plaintext from un-meshed callers is accepted.")]
EgressMode = Annotated[Egress, typer.Option("--egress", help="What happens to traffic that leaves the mesh.")]
AccessLogMode = Annotated[
    AccessLog, typer.Option("--access-log", help="Which requests sidecars log, besides those refused.")
]
IdentityBindings = Annotated[
    bool,
    typer.Option(
        "--identity-bindings/--no-identity-bindings", help="Whether IdentityBindings, a draft of SMI, are read."
    ),
]
Tap = Annotated[bool, typer.Option("--tap/--no-tap", help="Whether `weft tap` can watch requests.")]
Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="A kubeconfig; else what kubectl would take.", dir_okay=False)
]
Context = Annotated[str | None, typer.Option("--context", help="A context of the kubeconfig.")]
ReleaseNamespace = Annotated[str, typer.Option("--namespace", "-n", help="Where the control plane is installed.")]

DEFAULT_CLUSTER = "weft"
DEFAULT_TRUST_DOMAIN = MeshSettings().trust_domain
