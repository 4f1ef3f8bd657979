"""A pod and a neighbour as network namespaces, for tests of the redirect rules: who is redirected, and to where.

Run it inside a network namespace of its own, which becomes the pod's: `redirect_lab.py SPEC`, where SPEC is JSON with
`apply` (commands to run in the pod, in order) and `calls` (see `Call` below). It prints JSON: the `rules` after
each command, and for each call what answered, `None` when nothing did. It uses only the standard library.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from typing import Any

POD, PEER = "10.77.0.1", "10.77.0.2"
POD_V6, PEER_V6 = "fd77::1", "fd77::2"
POD_PORTS = (15001, 15006, 15021, 8080, 9000)
PEER_PORTS = (80, 9001)
SO_ORIGINAL_DST = 80


class Answer(socketserver.BaseRequestHandler):
    """Says which listener was reached, what the caller had dialled and from where it came."""

    def handle(self) -> None:
        here = self.request.getsockname()
        there = self.client_address[0]
        dialled = original_destination(self.request)
        self.request.sendall(json.dumps({"port": here[1], "dialled": dialled, "caller": there}).encode())


class Listener(socketserver.ThreadingTCPServer):
    """Listens on one port of both address families."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def original_destination(connection: socket.socket) -> str:
    """What conntrack knows of the address before REDIRECT, as `address port`."""
    local = connection.getsockname()[0]
    try:
        if local.startswith("::ffff:"):
            raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            port, address = struct.unpack("!2xH4s8x", raw)
            return f"{socket.inet_ntop(socket.AF_INET, address)} {port}"
        raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        port, address = struct.unpack("!2xH4x16s4x", raw)
        return f"{socket.inet_ntop(socket.AF_INET6, address)} {port}"
    except OSError:
        return ""


def listen(ports: tuple[int, ...]) -> None:
    """Answer on all these ports from now on."""
    for port in ports:
        server = Listener(("::", port), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def dial(address: str, port: int, source: str, mark: int, uid: int) -> None:
    """Connect as a user and print the answer."""
    if uid:
        # Here, not by a program that starts Python as that user, who need not be able to read it.
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(3)
        if mark:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if source:
            connection.bind((source, 0))
        connection.connect((address, port))
        print(connection.recv(1000).decode(), flush=True)


def run(*command: str) -> str:
    """Run a command to its end; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def connect_neighbour(neighbour: int) -> None:
    """One wire between the pod and the neighbour."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(neighbour))
    for inside, v4, v6 in ([], POD, POD_V6), (["nsenter", "-t", str(neighbour), "-n"], PEER, PEER_V6):
        run(*inside, "ip", "address", "add", f"{v4}/24", "dev", "eth0")
        run(*inside, "ip", "address", "add", f"{v6}/64", "dev", "eth0", "nodad")
        run(*inside, "ip", "link", "set", "eth0", "up")


def call(wanted: dict[str, Any], neighbour: int) -> dict[str, Any] | None:
    """One connection. Keys: `to`, `port`, and where wanted `uid`, `source`, `mark`, `outside` (from the neighbour)."""
    inside = ["nsenter", "-t", str(neighbour), "-n"] if wanted.get("outside") else []
    numbers = [str(wanted.get("mark", 0)), str(wanted.get("uid", 0))]
    dialling = [wanted["to"], str(wanted["port"]), wanted.get("source", ""), *numbers]
    command = [*inside, sys.executable, __file__, "dial", *dialling]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else None


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Build the two namespaces, run the commands, make the calls."""
    ports = [str(port) for port in PEER_PORTS]
    with subprocess.Popen(
        ["unshare", "-n", "--kill-child", "sh", "-c", 'ip link set lo up; read go; exec "$@"', "neighbour",
         sys.executable, __file__, "listen", *ports],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as neighbour:  # fmt: skip
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        try:
            while run("readlink", f"/proc/{neighbour.pid}/ns/net") == run("readlink", "/proc/self/ns/net"):
                time.sleep(0.01)
            connect_neighbour(neighbour.pid)
            neighbour.stdin.write("go\n")
            neighbour.stdin.flush()
            neighbour.stdout.readline()
            rules = []
            for command in spec["apply"]:
                run(*command)
                rules.append([run("iptables-save", "-t", "nat"), run("ip6tables-save", "-t", "nat")])
            listen(POD_PORTS)
            return {"rules": rules, "calls": [call(wanted, neighbour.pid) for wanted in spec["calls"]]}
        finally:
            neighbour.kill()


if __name__ == "__main__":
    if sys.argv[1] == "dial":
        dial(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
    elif sys.argv[1] == "listen":
        listen(tuple(int(port) for port in sys.argv[2:]))
        print("listening", flush=True)
        threading.Event().wait()
    else:
        json.dump(main(json.loads(sys.argv[1])), sys.stdout)
