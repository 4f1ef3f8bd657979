"""What the sidecars cost: requests a second, latency, Envoy's processor time a request, and memory.

    python -P -m bench.dataplane [--rounds N] [--seconds S] [--json]
    python -P -m bench.dataplane --memory [--services 10 100 1000] [--json]

Rule: no sidecar, the minimal pair and ours take turns, round after round, so that whatever else the machine does hits
all three; medians over the rounds, and ratios of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench import dataplane_world as world
from local.state import command_in_pod, pods

WAYS: Final = ("none", "minimal", "ours")
TICK: Final = os.sysconf("SC_CLK_TCK")
UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}
MANY: Final = 32
Numbers = dict[str, float]
Rows = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run: two for each way and round")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--services", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = memory(options.services) if options.memory else speed(options.rounds, options.seconds)
    print(json.dumps(found, indent=2) if options.json else table(found))


def speed(rounds: int, seconds: float) -> Rows:
    """A row for each way: medians over the rounds."""
    with world.Cluster(world.base()) as cluster:
        addresses = {name: str(pod["address"]) for name, pod in _by_app(cluster).items()}
        pairs = world.pair(addresses["plain/server"], _certificate())
        sides = zip(("plain/client", "plain/server"), pairs, strict=True)
        running = [_started(cluster, pod, argv) for pod, argv in sides]
        try:
            urls = {
                "none": ("plain/client", f"http://{addresses['plain/server']}:{world.SERVER_PORT}/"),
                "minimal": ("plain/client", f"http://127.0.0.1:{world.LOCAL}/"),
                "ours": ("mesh/client", "http://server/"),
            }
            return _rows(cluster, urls, rounds, seconds)
        finally:
            for process in running:
                process.kill()
                process.wait()


def _rows(cluster: world.Cluster, urls: Mapping[str, tuple[str, str]], rounds: int, seconds: float) -> Rows:
    pids = {
        "none": ([], []),
        "minimal": tuple(_minimal(cluster, f"plain/{side}") for side in ("client", "server")),
        "ours": tuple(_sidecar(cluster, f"mesh/{side}") for side in ("client", "server")),
    }
    found: dict[str, list[Numbers]] = {way: [] for way in WAYS}
    for way in WAYS:
        _load(cluster, *urls[way], MANY, 0.5)
    for _ in range(rounds):
        for way in WAYS:
            before = [_ticks(side) for side in pids[way]]
            many = _load(cluster, *urls[way], MANY, seconds)
            spent = [(_ticks(side) - start) / TICK for side, start in zip(pids[way], before, strict=True)]
            one = _load(cluster, *urls[way], 1, seconds)
            found[way].append({
                "rps": many["rps"], "p50_one_ms": one["p50"], "p99_one_ms": one["p99"],
                "p50_many_ms": many["p50"], "p99_many_ms": many["p99"],
                "client_us": spent[0] * 1e6 / many["requests"], "server_us": spent[1] * 1e6 / many["requests"],
            })  # fmt: skip
    return [_row(way, found) for way in WAYS]


def _row(way: str, found: dict[str, list[Numbers]]) -> dict[str, Any]:
    own = found[way]
    row: dict[str, Any] = {"way": way}
    row |= {name: round(statistics.median(each[name] for each in own), 3) for name in own[0]}
    pairs = list(zip(own, found["minimal"], strict=True))
    row["rps_to_minimal"] = _quartiles([mine["rps"] / other["rps"] for mine, other in pairs])
    row["cpu_to_minimal"] = _quartiles([_cpu(mine) / _cpu(other) for mine, other in pairs])
    for name in ("p50_one_ms", "p99_one_ms"):
        added = zip(own, found["none"], strict=True)
        row[f"added_{name}"] = round(statistics.median(mine[name] - other[name] for mine, other in added), 3)
    return row


def _cpu(each: Numbers) -> float:
    return each["client_us"] + each["server_us"]


def _quartiles(ratios: list[float]) -> str:
    """The median, and between which two the middle half of the rounds lies."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def memory(sizes: list[int]) -> Rows:
    """Resident memory of the client's sidecar with so many Services, told of all of them or of the one it may call."""
    return [_resident(size, scoped=scoped) for size in sizes for scoped in (True, False)]


def _resident(services: int, *, scoped: bool) -> dict[str, Any]:
    others = [world.service("mesh", f"s{number}", "other") for number in range(services - 1)]
    idle = ["sleep", "infinity"]
    manifests = [*world.base(), world.deployment("mesh", "other", idle, 0), *others]
    with world.Cluster(manifests, "--access", "enforced" if scoped else "permissive") as cluster:
        (pid,) = _sidecar(cluster, "mesh/client")
        told, before = _listeners(cluster), -1
        while told != before:  # until nothing has changed for a second
            time.sleep(1)
            told, before = _listeners(cluster), told
        status = Path(f"/proc/{pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])  # type: ignore[index]  # every process has it
        return {"services": services, "scoped": scoped, "listeners": told, "rss_mb": round(resident / 1024, 1)}


def _listeners(cluster: world.Cluster) -> int:
    code = "import urllib.request as u; print(len(u.urlopen('http://127.0.0.1:15000/listeners').read().splitlines()))"
    return int(cluster.run("mesh/client", "python3", "-c", code))


def _by_app(cluster: world.Cluster) -> dict[str, dict[str, Any]]:
    found = {}
    for name, pod in pods(cluster.name).items():
        space, _, full = name.partition("/")
        found[f"{space}/{full.rsplit('-', 2)[0]}"] = pod
    return found


def _started(cluster: world.Cluster, pod: str, argv: list[str]) -> subprocess.Popen[bytes]:
    command, environment = command_in_pod(cluster.name, pod, argv)
    return subprocess.Popen(command, env=environment)


def _sidecar(cluster: world.Cluster, pod: str) -> list[int]:
    """The sidecar of one of our pods: the Envoy that is no app."""
    return [pid for pid in cluster.envoys(pod) if b"ads_config" in _arguments(pid)]


def _minimal(cluster: world.Cluster, pod: str) -> list[int]:
    """The Envoy of the minimal pair: the one with an admin interface."""
    return [pid for pid in cluster.envoys(pod) if b"15100" in _arguments(pid)]


def _arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _ticks(pids: list[int]) -> int:
    """Processor time of processes so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields)


def _load(cluster: world.Cluster, pod: str, url: str, connections: int, seconds: float) -> Numbers:
    """One run of wrk. Raises SystemExit when anything but 200 came back."""
    said = cluster.run(
        pod, world.wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", url
    )  # fmt: skip
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url} was not answered as it should:\n{said}")
    found: Numbers = {}
    for quantile in ("50", "99"):
        number, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]  # wrk's
        found[f"p{quantile}"] = float(number) * UNITS[unit]
    found["requests"] = float(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]  # words are known
    found["rps"] = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    return found


def _certificate() -> str:
    """One key and certificate that both sides of the minimal pair have and trust."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
         "-subj", "/CN=server", "-days", "1", "-keyout", "/dev/stdout", "-out", "/dev/stdout"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout


def table(rows: Rows) -> str:
    """The rows below their names."""
    lines = [[*rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    main()
