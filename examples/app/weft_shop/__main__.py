"""The command line: `python3 -m weft_shop ROLE …`. Servers run until they are told to end, clients print JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from weft_shop import client, roles, servers


def main(words: Sequence[str] | None = None) -> int:
    """Run one role; the exit code."""
    chosen = command_line().parse_args(words)
    code: int = chosen.run(chosen)
    return code


def command_line() -> argparse.ArgumentParser:
    """All roles and their options."""
    parser = argparse.ArgumentParser(prog="weft_shop", description="A small shop, and a client that counts.")
    role = parser.add_subparsers(required=True, metavar="ROLE")
    _servers(role)
    _clients(role)
    return parser


def _servers(role: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    storefront = role.add_parser("storefront", help="the web page of the shop")
    storefront.add_argument("--catalog", default="http://catalog/items", help="the catalog's URL")
    storefront.add_argument("--port", type=int, default=8080)
    storefront.set_defaults(run=run_storefront)
    catalog = role.add_parser("catalog", help="what there is to buy")
    catalog.add_argument("--version", required=True, help="what it says its version is")
    catalog.add_argument("--inventory", default="inventory:9000", help="HOST:PORT of the inventory")
    catalog.add_argument("--port", type=int, default=8080)
    catalog.set_defaults(run=run_catalog)
    inventory = role.add_parser("inventory", help="how much there is of it, over TCP")
    inventory.add_argument("--greet", action="store_true", help="speak first, as a database would")
    inventory.add_argument("--port", type=int, default=9000)
    inventory.set_defaults(run=run_inventory)


def _clients(role: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    http = argparse.ArgumentParser(add_help=False)
    http.add_argument("url")
    http.add_argument("--method", default="GET")
    http.add_argument("-H", "--header", action="append", default=[], metavar="NAME=VALUE")
    http.add_argument("--no-keep-alive", action="store_true", help="a connection for each request")
    ask = role.add_parser("ask", parents=[http], help="send some requests, print the counts")
    ask.add_argument("--count", type=int, default=1)
    ask.set_defaults(run=run_ask)
    load = role.add_parser("load", parents=[http], help="send requests for some time, print the counts")
    load.add_argument("--seconds", type=float, default=5.0)
    load.add_argument("--workers", type=int, default=4)
    load.set_defaults(run=run_load)
    wait_for = role.add_parser("wait-for", parents=[http], help="ask until the answer is of a kind, print when it was")
    wait_for.add_argument("--status", type=int, default=200)
    wait_for.add_argument("--version", default="", help="the version that has to answer")
    wait_for.add_argument("--seconds", type=float, default=10.0)
    wait_for.set_defaults(run=run_wait_for)
    visit = role.add_parser("visit", parents=[http], help="ask for ever, with pauses; print each status")
    visit.add_argument("--every", type=float, default=2.0, metavar="SECONDS")
    visit.set_defaults(run=run_visit)
    talk = role.add_parser("talk", help="keep one TCP connection to the inventory busy, print how it went")
    talk.add_argument("place", metavar="HOST:PORT")
    talk.add_argument("--seconds", type=float, default=0.0)
    talk.add_argument("--greeted", action="store_true", help="the server speaks first")
    talk.set_defaults(run=run_talk)


def run_storefront(chosen: argparse.Namespace) -> int:
    """Serve the page."""
    servers.serve(servers.web_server(chosen.port, roles.storefront(chosen.catalog)))
    return 0


def run_catalog(chosen: argparse.Namespace) -> int:
    """Serve the catalog."""
    inventory = roles.Inventory(*_place(chosen.inventory))
    servers.serve(servers.web_server(chosen.port, roles.catalog(chosen.version, inventory)))
    return 0


def run_inventory(chosen: argparse.Namespace) -> int:
    """Serve the inventory."""
    greeting = roles.GREETING if chosen.greet else ""
    servers.serve(servers.line_server(chosen.port, roles.inventory, greeting))
    return 0


def run_ask(chosen: argparse.Namespace) -> int:
    """Send some requests; 1 if one was not answered."""
    counts = client.ask(_call(chosen), chosen.count)
    _print(counts.as_json())
    return int(bool(counts.failures))


def run_load(chosen: argparse.Namespace) -> int:
    """Send requests for some time; 1 if one was not answered."""
    counts = client.load(_call(chosen), chosen.seconds, chosen.workers)
    _print(counts.as_json())
    return int(bool(counts.failures))


def run_wait_for(chosen: argparse.Namespace) -> int:
    """Print a line when the first answer is there and one when the awaited is; 1 if it never came."""
    call = _call(chosen)
    _print(client.ask(call, 1).as_json())
    seen = client.wait_for(call, chosen.status, chosen.version, chosen.seconds)
    _print({"at": seen.at, **seen.counts.as_json()})
    return int(seen.at is None)


def run_visit(chosen: argparse.Namespace) -> int:
    """Ask until the process ends; each answer is a line in the log."""
    asking = client.Client(_call(chosen))
    while True:
        status, _ = asking.ask()
        print(f"{chosen.method} {chosen.url}: {status or asking.counts.failures[-1]}", flush=True)
        time.sleep(chosen.every)


def run_talk(chosen: argparse.Namespace) -> int:
    """Keep a connection busy; 1 if it broke."""
    said = client.talk(*_place(chosen.place), chosen.seconds, greeted=chosen.greeted)
    _print(said)
    return int(bool(said["failure"]))


def _call(chosen: argparse.Namespace) -> client.Call:
    headers = dict(header.partition("=")[::2] for header in chosen.header)
    return client.Call(chosen.url, chosen.method, headers, not chosen.no_keep_alive)


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _print(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main())
