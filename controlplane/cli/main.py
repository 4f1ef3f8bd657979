"""The `weft` command: the table of its commands.

Rule: only the module of the command that was asked for is imported, so that `weft exec` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

import typer

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "controlplane.cli.demo:demo",
    "up": "controlplane.cli.cluster:up",
    "down": "controlplane.cli.cluster:down",
    "exec": "controlplane.cli.execute:execute",
    "check": "controlplane.cli.check:check",
    "proxies": "controlplane.cli.proxies:proxies",
    "describe": "controlplane.cli.describe:describe",
    "authz": "controlplane.cli.authz:authz",
    "tap": "controlplane.cli.tap:tap",
    "stat": "controlplane.cli.traffic:stat",
    "edges": "controlplane.cli.traffic:edges",
    "top": "controlplane.cli.top:top",
    "ca": "controlplane.cli.ca:ca",
    "validate": "controlplane.cli.manifests:validate",
    "translate": "controlplane.cli.manifests:translate",
    "inject": "controlplane.cli.manifests:inject",
    "run": "controlplane.cli.run:run",
    "webhook": "controlplane.cli.webhook:webhook",
    "install": "controlplane.cli.install:install",
    "upgrade": "controlplane.cli.install:upgrade",
    "uninstall": "controlplane.cli.install:uninstall",
    "manifest": "controlplane.cli.install:manifest",
}
"""Command → where its function is, in the order `weft --help` lists them."""

OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "exec": {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}}
}


def command_line(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application with these commands."""
    weft = typer.Typer(name="weft", help="A service mesh that speaks SMI.", no_args_is_help=True, add_completion=False)
    weft.callback()(lambda: None)
    for name in names:
        module, _, function = COMMANDS[name].partition(":")
        found = getattr(import_module(module), function)
        if isinstance(found, typer.Typer):
            weft.add_typer(found, name=name)
        else:
            weft.command(name=name, **OPTIONS.get(name, {}))(found)
    return weft


def main() -> None:
    """Run the `weft` command."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    command_line([asked] if asked in COMMANDS else COMMANDS)(prog_name="weft")


if __name__ == "__main__":
    main()
