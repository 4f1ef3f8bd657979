"""`weft ca`: how the certificate authority stands, and the rotation of its issuers."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from controlplane.cli import options
from controlplane.cli.output import fail, say, show_json, show_table
from controlplane.cli.proxies import Admin, admin_client
from controlplane.client import ASKING, AdminClient, Unreachable

ca = typer.Typer(help="How the certificate authority stands, and the rotation of its issuers.", no_args_is_help=True)

PHASES = {
    "none": "No rotation of the root is under way.",
    "distribute": "A rotation of the root: the bundle with both roots is being distributed.",
    "drain": "A rotation of the root: the new root signs, and leaves under the other one run out.",
}

DOMAIN_PHASES = {
    "distribute": "A change to {next}: the rules that accept both are being distributed.",
    "drain": "A change from {previous}: leaves of the new one are given out, those of the old one run out.",
}


@ca.command()
def status(
    as_json: options.AsJson = False, name: options.ClusterName = options.DEFAULT_CLUSTER, admin: Admin = None
) -> None:
    """Show issuers, the steps of a rotation and who has not acknowledged. Exit 1 if certificates can't be kept."""
    found = _answer(admin_client(admin, name), "GET", "/ca")
    if as_json:
        show_json(found)
    else:
        _show(found, _answer(admin_client(admin, name), "GET", "/ca/federation"))
    if found["trouble"] or (found["provider"] or {}).get("trouble"):
        raise typer.Exit(1)


@ca.command()
def rotate(
    root: Annotated[bool, typer.Option("--root", help="The root, and with it the intermediate.")] = False,
    as_json: options.AsJson = False,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Replace the intermediate, or with --root the root. It is begun at once; `weft ca status` tells how it goes."""
    found = _answer(admin_client(admin, name), "POST", "/ca/rotate" + ("?root=true" if root else ""))
    what = "The root is" if root else "The intermediate is"
    _told(found, f"{what} going to be replaced; `weft ca status` tells how it goes.", as_json)


@ca.command()
def rollback(
    as_json: options.AsJson = False, name: options.ClusterName = options.DEFAULT_CLUSTER, admin: Admin = None
) -> None:
    """Take back the rotation of the root or the change of the trust domain that is under way."""
    found = _answer(admin_client(admin, name), "POST", "/ca/rollback")
    _told(found, "The rotation is going to be taken back; `weft ca status` tells how it goes.", as_json)


class Form(StrEnum):
    """How a bundle is written."""

    SPIFFE = "spiffe"
    PEM = "pem"


@ca.command()
def bundle(
    form: Annotated[Form, typer.Option("--format", help="A SPIFFE bundle (JSON), or certificates.")] = Form.SPIFFE,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Print the roots of this mesh, for another mesh to federate with it."""
    try:
        print(admin_client(admin, name).text("/ca/bundle" if form is Form.SPIFFE else "/ca/bundle.pem").strip())
    except Unreachable as error:
        fail(str(error), 1)


@ca.command("trust-domain")
def trust_domain(
    new: Annotated[str, typer.Argument(help="What SPIFFE IDs are to begin with.")],
    as_json: options.AsJson = False,
    name: options.ClusterName = options.DEFAULT_CLUSTER,
    admin: Admin = None,
) -> None:
    """Change the trust domain; both are accepted until no leaf of the old one lives. `weft ca status` tells more."""
    found = _answer(admin_client(admin, name), "POST", f"/ca/trust-domain?{urlencode({'name': new})}")
    _told(found, f"The trust domain is going to be {new}; `weft ca status` tells how it goes.", as_json)


def _answer(client: AdminClient, method: str, path: str) -> dict[str, Any]:
    try:
        code, found = client.ask(method, path, {ASKING: "weft ca"})
    except Unreachable as error:
        fail(str(error), 1)
    if code != 200:
        fail(str(found.get("detail", found)) if isinstance(found, dict) else f"the control plane answers {code}", 1)
    answer: dict[str, Any] = found
    return answer


def _told(found: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        say(sentence)


def _show(found: dict[str, Any], federation: dict[str, Any]) -> None:
    rows = [_row(what, found[what]) for what in ("root", "intermediate")]
    rows += [_row("also trusted", each) for each in found["bundle"] if each["sha256"] != found["root"]["sha256"]]
    show_table(["ISSUER", "NAME", "ENDS", "LEFT"], rows)
    rotation = found["rotation"]
    say(PHASES[rotation["phase"]])
    if rotation["phase"] != "none":
        say(f"  begun because {rotation['reason']}")
        say(f"  {rotation['step']}: {rotation['why']}")
    _show_domain(found["trust_domain"], rotation)
    _show_federation(federation)
    for what in ("replicas_behind", "not_acknowledged", "away"):
        for each in rotation[what]:
            say(f"  {what.replace('_', ' ')}: {each}")
    if found["trouble"]:
        say(f"Certificates can't be kept: {found['trouble']}")
    if found["provider"] is not None:
        show_provider(found["provider"])


def _show_domain(domain: dict[str, Any], rotation: dict[str, Any]) -> None:
    others = [each for each in domain["accepted"] if each != domain["signs"]]
    say(f"Trust domain {domain['signs']}{', and accepted: ' + ', '.join(others) if others else ''}.")
    if domain["phase"] != "none":
        say(f"  {DOMAIN_PHASES[domain['phase']].format(**domain)}")
        if rotation["phase"] == "none":
            say(f"  {rotation['step']}: {rotation['why']}")


def _show_federation(federation: dict[str, Any]) -> None:
    for each in federation["federates_with"]:
        since = f", fetched {each['fetched']}" if each["fetched"] else ""
        say(f"Federates with {each['trust_domain']}; roots: {each['roots']}{since}.")
        if each["trouble"]:
            say(f"  {each['trouble']}")
    if federation["trouble"]:
        say(f"The file of other meshes {federation['trouble']}")


def show_provider(provider: dict[str, Any]) -> None:
    """Who signs workloads' leaves in Weft's place, for people."""
    say(f"Workloads' certificates are signed by {provider['name']}; the issuers above are for Weft's own servers.")
    for root in provider.get("roots", ()):
        say(f"  root {root['subject']}, {root['state']}, ends {root['not_after']}")
    for each in provider.get("waiting_for", ()):
        say(f"  has not acknowledged its roots: {each}")
    if provider["trouble"]:
        say(f"Workloads' certificates can't be kept: {provider['trouble']}")


def _row(what: str, certificate: dict[str, Any]) -> list[str]:
    left = timedelta(seconds=certificate["seconds_left"])
    days = f"{left.days}d" if left.days else str(left)
    return [what, certificate["subject"].rpartition(" ")[2], certificate["not_after"], days]
