"""Looks at the wire from inside a pod: captures packets, and knocks on a port as somebody without a sidecar would.

Rule: standard library only, since it runs as a program of the pod: `python3 -m controlplane.demo.observer MODE …`.
"""

from __future__ import annotations

import argparse
import base64
import json
import select
import socket
import ssl
import struct
import sys
import time
from typing import Any

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
TCP = 6
TIMEOUT = 3.0
READY = "ready"


def main() -> None:
    """Run one mode; what it saw is printed as a line of JSON."""
    parser = argparse.ArgumentParser(description="Looks at the wire from inside a pod.")
    mode = parser.add_subparsers(required=True)
    capture_mode = mode.add_parser("capture", help="record what TCP carries on the pod's interface until stdin closes")
    capture_mode.set_defaults(run=lambda _: capture("eth0"))
    plaintext_mode = mode.add_parser("plaintext", help="send an HTTP request without TLS")
    handshake_mode = mode.add_parser("handshake", help="a TLS handshake without a certificate of one's own")
    handshake_mode.add_argument("--alpn", required=True)
    handshake_mode.add_argument("--at-most", default="TLSv1_3", choices=["TLSv1_2", "TLSv1_3"])
    for knocking in (plaintext_mode, handshake_mode):
        knocking.add_argument("host")
        knocking.add_argument("port", type=int)
    plaintext_mode.set_defaults(run=lambda chosen: plaintext(chosen.host, chosen.port))
    handshake_mode.set_defaults(run=lambda chosen: handshake(chosen.host, chosen.port, chosen.alpn, chosen.at_most))
    chosen = parser.parse_args()
    print(json.dumps(chosen.run(chosen)), flush=True)


def capture(interface: str) -> dict[str, str]:
    """What each direction of each TCP connection carried, `host:port>host:port` → base64, in order of sequence number.

    Needs CAP_NET_RAW. Prints a line when it begins to listen.
    """
    flows: dict[str, dict[int, bytes]] = {}
    # Packets that leave are shown to those only who ask for every protocol (packet(7)).
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as wire:
        wire.bind((interface, ETH_P_ALL))
        print(READY, flush=True)
        while True:
            readable, _, _ = select.select([wire, sys.stdin], [], [])
            if wire in readable:
                packet, sender = wire.recvfrom(65535)
                if sender[1] == ETH_P_IP:
                    _take(packet, flows)
            elif sys.stdin in readable:
                break
    return {name: base64.b64encode(_in_order(flow)).decode() for name, flow in flows.items()}


def _in_order(flow: dict[int, bytes]) -> bytes:
    first = next(iter(flow))
    return b"".join(flow[at] for at in sorted(flow, key=lambda at: (at - first) % 2**32))


def _take(packet: bytes, flows: dict[str, dict[int, bytes]]) -> None:
    """Add an IPv4 packet's TCP payload (RFC 791, RFC 9293); the same segment sent twice counts once."""
    header = (packet[0] & 15) * 4
    if packet[9] != TCP:
        return
    segment = packet[header : struct.unpack_from("!H", packet, 2)[0]]
    source_port, target_port, sequence = struct.unpack_from("!HHI", segment)
    payload = segment[(segment[12] >> 4) * 4 :]
    if payload:
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        flows.setdefault(f"{source}:{source_port}>{target}:{target_port}", {})[sequence] = payload


def plaintext(host: str, port: int) -> dict[str, Any]:
    """What a plaintext HTTP request is answered; empty when the connection is closed instead."""
    request = f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
            connection.sendall(request)
            return {"answer": connection.recv(1000).decode(errors="replace"), "refusal": ""}
    except OSError as error:
        return {"answer": "", "refusal": f"{type(error).__name__}: {error}"}


def handshake(host: str, port: int, alpn: str, at_most: str) -> dict[str, Any]:
    """The server's certificate (DER, base64) and TLS version, and how it refuses somebody who has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What is looked at is the certificate itself; whether it is trusted is the sidecars' business.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion[at_most]
    context.set_alpn_protocols([alpn])
    seen: dict[str, Any] = {"version": None, "certificate": None, "refusal": ""}
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT) as connection,
            context.wrap_socket(connection) as secured,
        ):
            seen["version"] = secured.version()
            seen["certificate"] = base64.b64encode(secured.getpeercert(binary_form=True) or b"").decode()
            # In TLS 1.3 the client learns after its own part of the handshake that its certificate is missed.
            secured.settimeout(TIMEOUT)
            time.sleep(0.05)
            if not secured.recv(1):
                seen["refusal"] = "closed"
    except OSError as error:
        seen["refusal"] = getattr(error, "reason", None) or f"{type(error).__name__}: {error}"
    return seen


if __name__ == "__main__":
    main()
