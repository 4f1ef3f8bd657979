"""The demo as a whole: starts the shop, has each claim proved in turn, tells what came of it, ends the shop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

import yaml
from rich.console import Console
from rich.text import Text

from controlplane.demo.access import nobody_may_call, only_the_named_may_call
from controlplane.demo.changes import a_change_is_felt_soon, no_request_is_lost
from controlplane.demo.claim import Claim, Proof
from controlplane.demo.shop import Manifest, Shop, ShopError, cluster_name, manifests_folder
from controlplane.demo.splits import testers_see_version_2, weights_hold
from controlplane.demo.wire import observed, outsider, the_wire_is_sealed

PROOFS: dict[str, Proof] = {
    "a": nobody_may_call,
    "b": only_the_named_may_call,
    "c": weights_hold,
    "d": testers_see_version_2,
    "e": the_wire_is_sealed,
    "f": a_change_is_felt_soon,
    "g": no_request_is_lost,
}
"""In this order: each leaves the shop as the next one needs it."""
OBSERVED = "base/catalog-v1.yaml"


def run_demo(*, as_json: bool) -> bool:
    """Run the demo; whether every claim holds. What it finds is printed: lines as they come, or JSON at the end."""
    began = time.monotonic()
    console = Console(soft_wrap=True, quiet=as_json)
    console.print("Starting the example shop: real sidecars, on this machine …", style="dim")
    claims: list[Claim] = []
    started, failure = 0.0, ""
    try:
        with _ended_by_signals(), Shop(cluster_name(), _added()) as shop:
            started = time.monotonic() - began
            console.print(f"Ready after {started:.1f} s.", style="dim")
            for key, proof in PROOFS.items():
                claims.append(_proved(key, proof, shop))
                console.print(_line(claims[-1]))
    except ShopError as error:
        failure = str(error)
        console.print(Text.assemble(("× ", "red"), failure))
    seconds = time.monotonic() - began
    holds = not failure and len(claims) == len(PROOFS) and all(claim.holds for claim in claims)
    console.print(_last_line(claims, seconds), style="dim")
    if as_json:
        print(json.dumps(_as_json(claims, holds, started, seconds, failure), indent=2))
    return holds


def _proved(key: str, proof: Proof, shop: Shop) -> Claim:
    """A proof that can't be carried through is a claim that failed; the others are still tried."""
    began = time.monotonic()
    try:
        claim = proof(shop)
    except ShopError as error:
        claim = Claim(key, (proof.__doc__ or key).strip().removeprefix(f"({key}) "), False, str(error))
    return replace(claim, measured={**claim.measured, "seconds": round(time.monotonic() - began, 1)})


def _line(claim: Claim) -> Text:
    mark, style = ("✓", "green") if claim.holds else ("×", "red")
    return Text.assemble((f"{mark} ", style), f"({claim.key}) ", (claim.sentence, "bold"), f": {claim.told}")


def _last_line(claims: list[Claim], seconds: float) -> str:
    holding = sum(claim.holds for claim in claims)
    return f"{holding} of {len(PROOFS)} claims hold, after {seconds:.1f} s."


def _as_json(claims: list[Claim], holds: bool, started: float, seconds: float, failure: str) -> dict[str, Any]:
    return {
        "ok": holds,
        "failure": failure,
        "seconds": round(seconds, 1),
        "seconds_to_start": round(started, 1),
        "claims": {
            claim.key: {"ok": claim.holds, "claim": claim.sentence, "told": claim.told, "measured": claim.measured}
            for claim in claims
        },
    }


def _added() -> dict[str, list[Manifest]]:
    """What the demo adds to the example: a pod without a sidecar, and somebody who listens beside the catalog."""
    documents = yaml.safe_load_all((manifests_folder() / OBSERVED).read_text())
    catalog = [observed(item) if item["kind"] == "Deployment" else item for item in documents]
    return {"demo/outsider.yaml": outsider(), OBSERVED: catalog}


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: through every `with`, so that it cleans up."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
