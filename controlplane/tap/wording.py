"""How the two ends of a request are written for people.

Rule: what a caller chose is never written as it came, for a terminal would obey it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube.workload import workload_of


def printable(text: str) -> str:
    """What a caller chose, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def short(peer: str) -> str:
    """A SPIFFE ID as `NAMESPACE/SERVICEACCOUNT`; everything else as it is."""
    if peer.startswith("spiffe://") and "/ns/" in peer:
        return peer.partition("/ns/")[2].replace("/sa/", "/")
    return peer


def ends(request: Mapping[str, Any]) -> tuple[str, str]:
    """Who asked and who was asked, without what differs from one connection or pod to the next.

    The watched side is its workload as `NAMESPACE/NAME`; the other one an identity, a Service's port as
    `NAMESPACE/NAME:PORT`, or an address, a caller's without its port.
    """
    namespace, _, pod = request["pod"].partition("/")
    mine = f"{namespace}/{workload_of(pod).name}"
    peer = short(request["peer"])
    if request["direction"] == "inbound":
        return (peer if "/" in peer else peer.rpartition(":")[0] or peer), mine
    service, slash, port = peer.rpartition("/")
    return mine, f"{service}:{port}" if slash and port.isdigit() else peer
