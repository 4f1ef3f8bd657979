"""`weft validate`, `weft translate` and `weft inject`: what manifests mean, without running anything."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from controlplane.cli import options
from controlplane.cli.output import fail, show_json, show_problem
from controlplane.view import problem_view, snapshot_view, type_name
from kube.problem import Problem, Severity
from local.plan import planned
from mesh.build import Builder
from mesh.model import Mesh
from mesh.settings import MeshSettings
from smi.resources import Resources
from sources.folder import FolderSource
from webhook.documents import inject_documents
from webhook.inject import InjectorSettings
from xds.names import pod_id
from xds.resource import TYPES
from xds.snapshot import World
from xds.translate.observing import Observing
from xds.translate.world import TranslateSettings, Translator

MADE_AT_RUN_TIME = "[made at run time]"
"""Stands where the trust bundle of a running control plane would."""


class Format(enum.StrEnum):
    """How structured output is written."""

    YAML = "yaml"
    JSON = "json"


def understood(paths: list[Path], settings: MeshSettings | None = None) -> tuple[Resources, Mesh, tuple[Problem, ...]]:
    """Read manifests and say what they mean, and what is wrong; pods that a cluster would make are made up."""
    source = FolderSource(paths)
    resources = planned(source.read())
    mesh = Builder(settings or MeshSettings()).build(resources)
    return resources, mesh, (*resources.problems, *map(source.placed, mesh.problems))


def validate(
    filename: options.Filenames, identity_bindings: options.IdentityBindings = False, as_json: options.AsJson = False
) -> None:
    """Check manifests: every mistake with its file, line, object and field. Exit 1 on errors."""
    resources, _, problems = understood(filename, MeshSettings(identity_bindings=identity_bindings))
    if as_json:
        show_json([problem_view(problem) for problem in problems])
    else:
        for problem in problems:
            show_problem(problem)
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        print(f"{len(resources.objects)} objects, {errors} errors, {len(problems) - errors} warnings")
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)


def translate(
    filename: options.Filenames,
    proxy: Annotated[str, typer.Option(help="NAMESPACE/POD; a prefix of the pod's name is enough.")],
    only: Annotated[list[str] | None, typer.Option("--type", help="Cluster, Listener, RouteConfiguration, …")] = None,
    identity_bindings: options.IdentityBindings = False,
    tap: options.Tap = True,
    output: Annotated[Format, typer.Option("-o", "--output", help="yaml or json.")] = Format.YAML,
) -> None:
    """Print exactly what the sidecar of a pod would be sent; certificates are made at run time and not shown."""
    _, mesh, _ = understood(filename, MeshSettings(identity_bindings=identity_bindings))
    world = Translator(TranslateSettings(observing=Observing(tap=tap))).translate(mesh, bundle=MADE_AT_RUN_TIME)
    shown = snapshot_view(world.roles[_role(world, proxy)], _types(only))
    print_document(shown, output)


def _role(world: World, proxy: str) -> str:
    wanted = pod_id(proxy)
    if wanted is None:
        fail(f"{proxy!r} is not of the form NAMESPACE/POD")
    matching = {role for pod, role in world.proxies.items() if pod == wanted}
    matching = matching or {
        role
        for pod, role in world.proxies.items()
        if pod.namespace == wanted.namespace and pod.name.startswith(wanted.name)
    }
    if len(matching) != 1:
        known = ", ".join(sorted(map(str, world.proxies))) or "none"
        fail(f"{proxy} names {'several meshed pods' if matching else 'no meshed pod'}; meshed pods: {known}", 1)
    return matching.pop()


def _types(only: list[str] | None) -> tuple[str, ...]:
    if not only:
        return TYPES
    by_name = {type_name(type_url).lower(): type_url for type_url in TYPES}
    unknown = [name for name in only if name.lower() not in by_name]
    if unknown:
        fail(f"unknown type {unknown[0]!r}; there are: {', '.join(type_name(type_url) for type_url in TYPES)}")
    return tuple(by_name[name.lower()] for name in only)


def print_document(value: Any, output: Format) -> None:
    """Print one structured value."""
    if output is Format.JSON:
        show_json(value)
    else:
        yaml.safe_dump(value, sys.stdout, sort_keys=False, width=120)


def inject(
    filename: options.Filenames,
    everything: Annotated[bool, typer.Option("--all", help="Also what no label enrols.")] = False,
) -> None:
    """Print the manifests with the sidecar in every enrolled pod; the rest as it was. Exit 1 if one was refused."""
    documents, notes = inject_documents(filename, InjectorSettings(), everything=everything)
    yaml.safe_dump_all(documents, sys.stdout, sort_keys=False, width=120)
    for note in notes:
        print(note, file=sys.stderr)
    if any(isinstance(note, Problem) for note in notes):
        raise typer.Exit(1)
