"""The `weft` command: the table of its commands."""

from __future__ import annotations

import typer

from controlplane.cli.cluster import down, execute, up
from controlplane.cli.demo import demo
from controlplane.cli.manifests import inject, translate, validate
from controlplane.cli.proxies import check, proxies
from controlplane.cli.run import run

EXEC = {"allow_extra_args": True, "ignore_unknown_options": True}


def command_line() -> typer.Typer:
    """The application with all commands, in the order `weft --help` lists them."""
    weft = typer.Typer(name="weft", help="A service mesh that speaks SMI.", no_args_is_help=True, add_completion=False)
    weft.command()(demo)
    weft.command()(up)
    weft.command()(down)
    weft.command(name="exec", context_settings=EXEC)(execute)
    weft.command()(check)
    weft.command()(proxies)
    weft.command()(validate)
    weft.command()(translate)
    weft.command()(inject)
    weft.command()(run)
    return weft


def main() -> None:
    """Run the `weft` command."""
    command_line()()


if __name__ == "__main__":
    main()
