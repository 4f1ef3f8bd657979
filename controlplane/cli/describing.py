"""How descriptions look: headings, sentences that wrap at the terminal's width, and tables where there are columns.

Rule: everything shown is in the JSON too; nothing is worked out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controlplane.cli.output import harmless

Value = Mapping[str, Any]
MODES = {"mtls": "mTLS", "access": "access", "egress": "egress", "access_log": "access log"}


def pod_parts(view: Value) -> Iterable[RenderableType]:
    """A pod, as `weft describe pod` prints it."""
    yield _title(view)
    services = view["services"]
    if not view["meshed"]:
        yield _indented("It has no sidecar: anybody may call it, in plaintext, and no TrafficTarget is enforced.")
    else:
        yield _indented(f"It runs as {view['identity']['name']} ({view['identity']['uri']}).")
        yield _indented(view["sidecar"]["sentence"], _style(view["sidecar"]["state"]))
    if services:
        yield _indented(f"{_several(services, 'Service')} {'lead' if len(services) > 1 else 'leads'} to it.")
    if view["meshed"]:
        yield from _modes(view["modes"])
        yield from _ports(view)
        yield from _outside(view)
    yield from _problems(view["problems"])


def service_parts(view: Value) -> Iterable[RenderableType]:
    """A Service, as `weft describe service` prints it."""
    yield _title(view)
    where = ", ".join(view["addresses"]) or "no address of its own"
    yield _indented(f"It is at {where}.")
    for port in view["ports"]:
        yield from _routes(port)
    if not view["workloads"]:
        yield _indented("No pod is ready behind it.", "yellow")
    for workload in view["workloads"]:
        yield from _workload(workload)
    yield from _problems(view["problems"])


def authz_parts(view: Value) -> Iterable[RenderableType]:
    """Who is let in to a pod, as `weft authz` prints it."""
    yield _title(view)
    if not view["meshed"]:
        yield _indented("It has no sidecar: anybody may call it, in plaintext, and no TrafficTarget is enforced.")
        return
    yield _indented(f"It runs as {view['identity']['name']}. What is not in the table is refused.")
    table = _table("PORT", "CALLER", "MAY", "BECAUSE OF")
    for port in view["ports"]:
        for row in port["callers"] or [{"callers": ["nobody"], "may": "", "target": "", "route": ""}]:
            style = "" if port["callers"] else "yellow"
            table.add_row(*_cells(_port_name(port), _lines(row["callers"]), row["may"], _because(row), style=style))
    yield Text()
    yield table
    yield Text()
    for port in view["ports"]:
        yield _indented(f"Port {port['port']}: {_modes_of(port)}. {port['otherwise']}")


def verdict_parts(view: Value) -> Iterable[RenderableType]:
    """One answer, as `weft authz --from` prints it."""
    mark = ("✓ ", "green") if view["allowed"] else ("× ", "red")
    answer = {"403": "refused (403)", "400": "refused (400)", "closed": "refused (the connection is closed)"}
    verdict = "allowed" if view["allowed"] else answer[view["answer"]]
    yield Text.assemble(mark, (verdict, "bold"), f": {_question(view)}")
    yield _indented(view["because"])
    for sentence in (*view["rules"][1:], *view["nearly"], *view["notes"]):
        lets = f"{sentence} lets it in too." if sentence in view["rules"] else sentence
        yield _indented(lets, "dim")


def show(parts: Iterable[RenderableType]) -> None:
    """Print parts on standard output."""
    console = Console(highlight=False)
    for part in parts:
        console.print(part)


def _question(view: Value) -> str:
    caller = view["from"] or "a caller without a sidecar"
    where = f"port {view['port']} of {view['namespace']}/{view['name']}"
    request = view.get("request")
    if not request:
        return f"{caller} connects to {where}"
    headers = "".join(f", {name}: {value}" for name, value in request["headers"].items())
    return f"{caller} sends {request['method']} {request['path']} to {where}{headers}"


def _title(view: Value) -> Text:
    return Text.assemble((f"{view['kind']} {view['namespace']}/{view['name']}", "bold"))


def _heading(text: str) -> Text:
    return Text.assemble("\n", (text, "bold"))


def _indented(text: str, style: str = "", by: int = 2) -> Padding:
    return Padding(Text(harmless(text), style=style), (0, 0, 0, by), expand=False)


def _modes(modes: Value) -> Iterable[RenderableType]:
    yield _heading("Modes")
    table = _table()
    for key, name in MODES.items():
        table.add_row(*_cells(name, modes[key]["value"], f"because of {modes[key]['because']}"))
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _ports(view: Value) -> Iterable[RenderableType]:
    yield _heading("Who may call it")
    if not view["ports"]:
        yield _indented("Nobody: it declares no port, and no Service leads to one.")
    for port in view["ports"]:
        services = f", as {', '.join(port['services'])}" if port["services"] else ""
        yield _indented(f"Port {port['port']} ({port['protocol']}){services}")
        for key in ("mtls", "access"):
            if port[key] != view["modes"][key]:
                yield _indented(f"{MODES[key]} is {port[key]['value']} because of {port[key]['because']}.", by=4)
        for row in port["callers"]:
            yield _indented(_sentence(row), by=4)
        if not port["callers"]:
            yield _indented("Nobody may call it: no TrafficTarget lets anybody in.", "yellow", 4)
        yield _indented(port["otherwise"], "dim", 4)


def _outside(view: Value) -> Iterable[RenderableType]:
    if view["modes"]["egress"]["value"] == "allowed":
        return
    yield _heading("What it may call outside the mesh")
    for row in view["outside"]:
        where = " at ".join(_and(words) for words in (row["hosts"], row["cidrs"]) if words)
        ports = f"port{'s' * (len(row['ports']) > 1)} {_and(row['ports'])}"
        what = f", {_or(row['requests'])} only" if row["requests"] else ""
        yield _indented(f"{where} on {ports}{what}, because of {row['policy']}.")
    if not view["outside"]:
        yield _indented("Nothing: no EgressPolicy names its ServiceAccount.", "yellow")


def _sentence(row: Value) -> str:
    names, verb = _and(row["callers"]), "open" if "connection" in row["may"] else "send"
    # Names of accounts are written as they are, other words begin the sentence.
    who = names if "/" in names else names[0].upper() + names[1:]
    return f"{who} may {verb} {row['may']}, because of {_because(row)}."


def _workload(workload: Value) -> Iterable[RenderableType]:
    pods = workload["pods"]
    if not workload["meshed"]:
        yield _heading("Behind it, without a sidecar")
        yield _indented(f"{_several(pods, 'pod')}: called in plaintext, by anybody.")
        return
    yield _heading(f"Behind it, as {workload['identity']['name']}")
    known = [sidecar for sidecar in workload["sidecars"] if sidecar["state"] != "unknown"]
    if not known:
        yield _indented(f"{_several(pods, 'Pod')}.")
    for sidecar in known:
        yield _indented(f"{sidecar['pod']}: {_lowered(sidecar['sentence'])}", _style(sidecar["state"]))
    yield from _modes(workload["modes"])
    yield from _ports(workload)


def _routes(port: Value) -> Iterable[RenderableType]:
    yield _heading(f"Port {port['port']} ({port['protocol']})")
    for route in port["routes"]:
        about = f"Requests {_or(route['requests'])}" if route["requests"] else "All requests"
        if route is port["routes"][-1] and len(port["routes"]) > 1:
            about = "All other requests"
        by = f", by {route['by']}" if route["by"] else ""
        yield _indented(f"{about} {'are answered ' + route['answer'] if route['answer'] else 'go to' + by + ':'}")
        table = _table()
        for backend in route["backends"]:
            share = f"{backend['percent']:g} %"
            table.add_row(*_cells(backend["service"], share, _endpoints(backend), backend["note"]))
        for left in route["left_out"]:
            table.add_row(*_cells(left["service"], "left out", "", left["why"], style="yellow"))
        if route["backends"] or route["left_out"]:
            yield Padding(table, (0, 0, 0, 4), expand=False)


def _endpoints(backend: Value) -> str:
    meshed, plain = backend["meshed"], backend["plain"]
    words = [f"{meshed} by mutual TLS"] if meshed else []
    words += [f"{plain} in plaintext"] if plain else []
    total = meshed + plain
    return f"{total} endpoint{'s' * (total != 1)}" + (f" ({', '.join(words)})" if words else "")


def _problems(problems: list[Value]) -> Iterable[RenderableType]:
    if not problems:
        return
    yield _heading("Problems")
    for problem in problems:
        style = "red" if problem["severity"] == "error" else "yellow"
        name = f"{problem['namespace']}/{problem['name']}".lstrip("/")
        where = f"{problem['kind']} {name} {problem['field']}".strip()
        yield _indented(f"{where}: {problem['message']} [{problem['rule']}]", style)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(columns))
    for column in columns or ("", "", "", ""):
        table.add_column(column, overflow="fold")
    return table


def _cells(*cells: str, style: str = "") -> list[Text]:
    return [Text(harmless(cell), style=style) for cell in cells]


def _port_name(port: Value) -> str:
    return f"{port['port']} ({port['protocol']})"


def _because(row: Value) -> str:
    return ", ".join(word for word in (row["target"], row["route"]) if word)


def _modes_of(port: Value) -> str:
    return f"access {port['access']['value']}, mTLS {port['mtls']['value']}"


def _style(state: str) -> str:
    return {"rejected": "red", "stale": "yellow", "away": "yellow"}.get(state, "")


def _lines(words: list[str]) -> str:
    return "\n".join(words)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _or(words: list[str]) -> str:
    return " or ".join(words)


def _several(words: list[str], noun: str) -> str:
    return f"{noun}{'s' * (len(words) != 1)} {_and(words)}"
