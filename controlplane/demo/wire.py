"""Claim (e): what somebody sees who listens on the wire between two sidecars, and who knocks without one.

The evidence is each side's own: the packets on the catalog's interface, the certificate its sidecar shows, and the
caller's identity that its sidecar verified and told the app.
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509

from controlplane.demo import handshakes
from controlplane.demo.access import INVENTORY
from controlplane.demo.claim import Claim
from controlplane.demo.shop import Manifest, Shop
from xds.translate.naming import Flavour

MARKER = "weft-demo-marker-7f3a"
CATALOG_PORT = 8080
INVENTORY_PORT = 9000
SERVER_ID = "spiffe://cluster.local/ns/shop/sa/catalog"
CALLER_ID = "spiffe://cluster.local/ns/shop/sa/storefront"
SENTENCE = "Between sidecars there is TLS 1.3 with both SPIFFE IDs, and plaintext is refused"


def the_wire_is_sealed(shop: Shop) -> Claim:
    """(e) Listen beside the catalog while it is called and while it calls; then knock from a pod without a sidecar."""
    seen = _listen(shop)
    knocks = _knock(shop)
    findings = {
        "TLS 1.3 on the wire": seen["offered"] == ["0x304"] and seen["chosen"] == "0x304",
        "nothing readable on the wire": seen["flows"] == 4 and seen["all_tls"] and not seen["marker_seen"],
        "the catalog's sidecar shows the catalog's identity": knocks["server_ids"] == [SERVER_ID],
        "the storefront's sidecar has proved the storefront's": seen["caller"] == CALLER_ID,
        "plaintext is refused": knocks["plaintext"]["answer"] == "",
        "a caller without a certificate is refused": bool(knocks["without_certificate"]["refusal"]),
        "TLS 1.2 is refused": knocks["older"]["version"] is None,
    }
    holds = all(findings.values())
    told = f"{CALLER_ID} → {SERVER_ID}; plaintext, TLS 1.2 and a caller without a certificate are refused"
    failed = [finding for finding, holds in findings.items() if not holds]
    measured = {"findings": findings, "listening": seen, "knocking": knocks}
    return Claim("e", SENTENCE, holds, told if holds else f"not so: {', '.join(failed)}", measured)


def _listen(shop: Shop) -> dict[str, Any]:
    """One call to the catalog, and one from it, as its interface sees them."""
    listening = shop.observe("catalog-v1", "capture")
    assert listening.stdout is not None  # noqa: S101 - the shop opens all three
    listening.stdout.readline()
    call = shop.ask("storefront", f"http://catalog-v1/?{MARKER}", "-H", f"x-marker={MARKER}")
    shop.finish(shop.start("catalog-v1", "talk", INVENTORY))
    flows = {name: base64.b64decode(carried) for name, carried in shop.finish(listening).items()}
    called = [carried for name, carried in flows.items() if _touches(name, CATALOG_PORT)]
    towards = next((carried for name, carried in flows.items() if name.endswith(f":{INVENTORY_PORT}")), b"")
    back = next((carried for name, carried in flows.items() if f":{INVENTORY_PORT}>" in name), b"")
    meshed = [carried for carried in (*called, towards, back) if carried]
    chosen = handshakes.chosen_version(handshakes.records(back) or [])
    return {
        "flows": len(meshed),
        "bytes": sum(map(len, meshed)),
        "all_tls": all(handshakes.records(carried) is not None for carried in meshed),
        "marker_seen": any(MARKER.encode() in carried for carried in flows.values()),
        "offered": [hex(version) for version in handshakes.offered_versions(handshakes.records(towards) or [])],
        "chosen": None if chosen is None else hex(chosen),
        "caller": call["last"]["caller"] if isinstance(call["last"], dict) else "",
    }


def _knock(shop: Shop) -> dict[str, Any]:
    """Three ways to come to the catalog's own address without a sidecar."""
    place = (str(shop.pod("catalog-v1")["address"]), str(CATALOG_PORT))
    alpn = ("--alpn", Flavour.HTTP.value)
    plaintext = shop.finish(shop.observe("outsider", "plaintext", *place))
    without = shop.finish(shop.observe("outsider", "handshake", *place, *alpn))
    older = shop.finish(shop.observe("outsider", "handshake", *place, *alpn, "--at-most", "TLSv1_2"))
    certificate = without.pop("certificate")
    older.pop("certificate")
    return {
        "plaintext": plaintext,
        "without_certificate": without,
        "older": older,
        "server_ids": _uris(base64.b64decode(certificate)) if certificate else [],
    }


def _uris(certificate: bytes) -> list[str]:
    read = x509.load_der_x509_certificate(certificate)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _touches(flow: str, port: int) -> bool:
    return any(side.endswith(f":{port}") for side in flow.split(">"))


def outsider() -> list[Manifest]:
    """A pod of the shop without a sidecar."""
    labels = {"app": "outsider", "weft.dev/inject": "disabled"}
    container = {"name": "outsider", "image": "weft-shop:1", "command": ["sleep", "infinity"]}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "outsider", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "outsider"}},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    ]


def observed(deployment: Manifest) -> Manifest:
    """The Deployment with a container beside the app that may listen on the pod's interface."""
    template = deployment["spec"]["template"]
    observer = {
        "name": "observer", "image": "weft-shop:1", "command": ["sleep", "infinity"],
        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["NET_RAW"]}},
    }  # fmt: skip
    spec = {**template["spec"], "containers": [*template["spec"]["containers"], observer]}
    return {**deployment, "spec": {**deployment["spec"], "template": {**template, "spec": spec}}}
