"""What the shop's three servers answer.

storefront   GET /        a page: what the catalog says, passed on with the visitor's `x-visitor` header
catalog      GET /        its version, and who called it as far as the mesh told it
             GET /items   the same with items, whose stock the inventory is asked for
inventory    stock ITEM   one line over TCP, answered `ITEM COUNT`
all of HTTP  GET /healthz for probes
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from weft_shop.servers import Answer, Handler, Request

STOCK = {"loom": 3, "shuttle": 40, "bobbin": 1200}
GREETING = "inventory ready"
PASSED_ON = "x-visitor"
"""The header that says what kind of visitor asks. A mesh sees only requests, so each app must pass it on itself."""
CALLER = "x-forwarded-client-cert"
"""Where a mesh's sidecar tells its app whose certificate it verified: `…;URI=spiffe://…` (Envoy's name for it)."""
TIMEOUT = 10.0


def storefront(catalog: str) -> Handler:
    """The page for a visitor, made from what the catalog at this URL answers, with the catalog's status."""
    place = urlsplit(catalog)

    def handle(request: Request) -> Answer:
        if request.path == "/healthz":
            return Answer({"status": "ok"})
        headers = {PASSED_ON: request.headers[PASSED_ON]} if PASSED_ON in request.headers else {}
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=TIMEOUT)
        try:
            connection.request(request.method, place.path or "/", headers=headers)
            response = connection.getresponse()
            said = _json_or_text(response.read())
        except OSError as error:
            return Answer({"app": "storefront", "error": f"the catalog can't be reached: {error}"}, 502)
        finally:
            connection.close()
        return Answer({"app": "storefront", "catalog": said}, response.status)

    return handle


@dataclass(frozen=True, slots=True)
class Inventory:
    """Where the inventory is, and how to ask it."""

    host: str
    port: int

    def stock(self) -> dict[str, int]:
        """How much there is of each item, over one connection. Raises OSError when the inventory doesn't answer."""
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT) as connection:
            lines = connection.makefile("rwb")
            counts: dict[str, int] = {}
            for item in STOCK:
                lines.write(f"stock {item}\n".encode())
                lines.flush()
                counts[item] = int(_answer(lines).removeprefix(item))
            return counts


def _answer(lines: Iterable[bytes]) -> str:
    """The next line that answers something: one that speaks first says its greeting before."""
    for received in lines:
        said = received.decode().strip()
        if said != GREETING:
            return said
    raise ConnectionError("it closed the connection")


def catalog(version: str, inventory: Inventory) -> Handler:
    """The catalog of a version."""

    def handle(request: Request) -> Answer:
        if request.path == "/healthz":
            return Answer({"status": "ok"})
        said = {"app": "catalog", "version": version, "caller": _identity(request.headers.get(CALLER, ""))}
        if request.path != "/items":
            return Answer(said)
        try:
            return Answer({**said, "items": inventory.stock()})
        except OSError as error:
            return Answer({**said, "error": f"the inventory can't be asked: {error}"}, 502)

    return handle


def inventory(line: str) -> str:
    """The answer to one line."""
    verb, _, item = line.partition(" ")
    if verb != "stock":
        return f"? {verb}"
    return f"{item} {STOCK.get(item, 0)}"


def _identity(told: str) -> str:
    pairs = dict(pair.partition("=")[::2] for pair in told.split(";"))
    return pairs.get("URI", "")


def _json_or_text(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()
