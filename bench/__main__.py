"""`python -m bench WHAT … --json`: one measurement; `--help` lists them, docs/performance.md explains."""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench import measures
from bench.generate import generate
from bench.lab import Wire
from bench.world import Size
from controlplane import logs
from mesh.settings import Access
from xds.server import TransportKind


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the control plane on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, said in (
        ("converge", "one change: from its file to the last ACK"),
        ("sync", "all proxies at once: from nothing, and again with all they had"),
        ("churn", "endpoint changes at a rate"),
    ):
        command = commands.add_parser(name, help=said)
        command.add_argument("--proxies", type=int, default=1000)
        command.add_argument("--services", type=int, default=1000)
        command.add_argument("--identities", type=int, default=20)
        command.add_argument("--access", choices=[str(each) for each in Access], default=str(Access.PERMISSIVE))
        command.add_argument(
            "--connections", type=int, default=0, help="share so many TLS connections; 0: one for each proxy"
        )
        command.add_argument(
            "--transport", choices=[str(each) for each in TransportKind], default=str(TransportKind.OWN)
        )
        if name == "converge":
            command.add_argument(
                "--change", choices=["endpoint", "split", "target", "certificate"], default="endpoint",
                help="`target` needs `--access enforced`",
            )  # fmt: skip
        if name == "churn":
            command.add_argument("--rate", type=float, default=500)
            command.add_argument("--seconds", type=float, default=10)
    commands.add_parser("generate", help="translating and encoding, by kind of resource")
    grow = commands.add_parser("growth", help="time and memory at sizes that grow")
    grow.add_argument("--services", type=int, nargs="+", default=[10, 100, 1000, 5000])
    grow.add_argument("--proxies", type=int, nargs="+", default=[10, 100, 1000, 5000])
    grow.add_argument("--still", type=int, default=100, help="how many there are of what does not grow")
    api = commands.add_parser("cluster", help="objects from an API server: cold start, and a storm of status writes")
    api.add_argument("--services", type=int, default=1000)
    api.add_argument("--pods", type=int, default=10_000)
    api.add_argument("--splits", type=int, default=1000)
    api.add_argument("--rate", type=float, default=1000, help="status writes a second")
    api.add_argument("--seconds", type=float, default=10)
    whole = commands.add_parser("apply", help="a TrafficSplit, from its apply to the first request that obeys it")
    whole.add_argument("--changes", type=int, default=60)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    logs.configure("warning")
    _print(_measured(options), as_json=options.json)


def _measured(options: argparse.Namespace) -> Any:
    if options.command == "generate":
        return generate()
    if options.command == "growth":
        return measures.growth(options.services, options.proxies, options.still)
    if options.command in {"cluster", "apply"}:
        return _with_api_server(options)
    size = Size(
        proxies=options.proxies,
        services=options.services,
        identities=min(options.identities, options.proxies),
        access=Access(options.access),
    )
    wire = Wire(options.connections, TransportKind(options.transport))
    if options.command == "converge":
        if options.change == "target" and size.access is Access.PERMISSIVE:
            raise SystemExit("Under permissive access a TrafficTarget changes nothing: add --access enforced.")
        return measures.converge(size, options.change, wire)
    if options.command == "churn":
        return measures.churn(size, options.rate, options.seconds, wire)
    return measures.sync(size, wire)


def _with_api_server(options: argparse.Namespace) -> Any:
    # The official client is slow to import.
    if options.command == "apply":
        from bench.apply import apply  # noqa: PLC0415

        return apply(options.changes)
    from bench.cluster import cluster  # noqa: PLC0415
    from bench.cluster_world import ClusterSize  # noqa: PLC0415

    counted = ClusterSize(services=options.services, pods=options.pods, splits=options.splits)
    return cluster(counted, options.rate, options.seconds)


def _print(found: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for one in found if isinstance(found, list) else [found]:
        for name, value in one.items():
            print(f"{name:26} {value}")
        print()


if __name__ == "__main__":
    main()
