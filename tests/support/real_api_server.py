"""A real API server on loopback: etcd, kube-apiserver and, where there is one, kube-controller-manager.

Rule: nothing outlives the tests. Every process ends with the thread that started it (the kernel sees to that when the
tests are killed), and everything they write lies in one temporary folder.

There is no scheduler and no kubelet: a pod stays Pending until a test binds it (`spec.nodeName`, or a POST to its
`binding`), and it is Ready when a test, or whatever plays the node, writes its status.
"""

from __future__ import annotations

import atexit
import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from api_server_keys import Access, Pair, Signer, TokenKeys

ASSETS = "KUBEBUILDER_ASSETS"
NAMESPACES = "/api/v1/namespaces"
PATIENCE = 90.0
"""Seconds until a program that does not answer is given up."""

CONTROLLERS = (
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "endpointslice-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "garbage-collector-controller",
    "disruption-controller",
    "clusterrole-aggregation-controller",
)
"""Those tests need. Not the ones that would judge pods for lack of a node."""

OPENSHIFT_CONTROLLER = "service-ca-certificate-publisher-controller"
"""In OpenShift's build, whose API server gives every pod a volume of the ConfigMap that this one makes."""


def assets() -> Path | None:
    """The folder of the binaries, if the environment names one that has what is needed."""
    named = os.environ.get(ASSETS)
    if not named:
        return None
    folder = Path(named)
    if absent := [name for name in ("etcd", "kube-apiserver") if not os.access(folder / name, os.X_OK)]:
        raise FileNotFoundError(f"{ASSETS} is {named}, which has no {' and no '.join(absent)}")
    return folder


class RealApiServer:
    """Runs from `start()` to `stop()`. `controllers` says whether a kube-controller-manager runs beside it."""

    real = True

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="weft-api-server-"))
        # A process dies with the thread that started it: one thread, that lives as long as this object.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="api-server")
        self._numbers = itertools.count(1)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd, self._etcd_peer, self._port = free_ports(3)
        self.url = f"https://127.0.0.1:{self._port}"
        authority, clients = Signer("kube-apiserver"), Signer("clients")
        self.ca_pem = authority.pem
        self._files = _write_files(self._folder, authority, clients)
        self._access = Access(self.url, self.ca_pem, clients, self._folder)
        self.admin_kubeconfig = self.kubeconfig_as("kubernetes-admin", ["system:masters"])
        self.controllers = os.access(binaries / "kube-controller-manager", os.X_OK)

    @classmethod
    def start(cls, binaries: Path) -> Self:
        """Everything runs and answers when this returns."""
        server = cls(binaries)
        atexit.register(server.stop)
        server._thread.submit(server._start).result()
        return server

    def stop(self) -> None:
        """Idempotent."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self._end(name)
        self._thread.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def restart(self) -> None:
        """End the API server and start it again at the same address, with everything it had stored."""
        self.go_away()
        self.come_back()

    def go_away(self) -> None:
        """The API server refuses connections until `come_back`."""
        # Controllers that lost their server try again after up to half a minute: they start anew with it.
        for name in ("kube-controller-manager", "kube-apiserver"):
            self._end(name)

    def come_back(self) -> None:
        """After `go_away`."""
        self._thread.submit(self._start_servers).result()

    def compact(self) -> None:
        """Forget all versions but the newest of each object: who goes on from an older one is told 410."""
        status = _post(f"http://127.0.0.1:{self._etcd}/v3/kv/range", {"key": "AA==", "count_only": True})
        revision = status["header"]["revision"]
        _post(f"http://127.0.0.1:{self._etcd}/v3/kv/compaction", {"revision": revision, "physical": True})
        self.restart()  # it also remembers events in a cache of its own

    def kubeconfig_as(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of that user, to whom RBAC applies."""
        return self._access.kubeconfig(user, groups)

    def _start(self) -> None:
        self._launch("etcd", self._etcd_flags())
        self._await("etcd", lambda: _healthy(f"http://127.0.0.1:{self._etcd}/health"))
        self._start_servers()

    def _start_servers(self) -> None:
        self._launch("kube-apiserver", self._api_server_flags())
        self._await("kube-apiserver", lambda: self._has("/readyz") and self._has(NAMESPACES + "/default"))
        if self.controllers:
            self._launch("kube-controller-manager", self._controller_flags())
            probe = f"probe-{next(self._numbers)}"
            self._call("POST", NAMESPACES, {"metadata": {"name": probe}})
            account = f"{NAMESPACES}/{probe}/serviceaccounts/default"
            self._await("kube-controller-manager", lambda: self._has(account))
            self._call("DELETE", f"{NAMESPACES}/{probe}")

    def _launch(self, name: str, flags: Sequence[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", self._binaries / name, *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
            )  # fmt: skip

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not answers():
            code = self._running[name].poll()
            if code is not None or time.monotonic() > deadline:
                what = "does not answer" if code is None else f"ended with {code}"
                last = "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
                self.stop()
                raise RuntimeError(f"{name} {what}; its last words:\n{last}")
            time.sleep(0.05)

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            # An API server waits for its watches, which tests hold open: it need not be polite here.
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _has(self, path: str) -> bool:
        return self._call("GET", path) == 200

    def _call(self, method: str, path: str, body: object = None) -> int:
        """The HTTP code; 0 where nobody answers."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        context.load_cert_chain(self._files["admin.crt"], self._files["admin.key"])
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=5, context=context)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _etcd_flags(self) -> list[str]:
        here, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._etcd_peer}"
        return [
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={here}",
            f"--advertise-client-urls={here}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # what is written need not survive the machine
            "--log-level=warn",
        ]

    def _api_server_flags(self) -> list[str]:
        files = self._files
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # loopback is no address for an endpoint
            f"--secure-port={self._port}",
            f"--tls-cert-file={files['server.crt']}",
            f"--tls-private-key-file={files['server.key']}",
            f"--client-ca-file={files['clients.pem']}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={files['tokens.pub']}",
            f"--service-account-signing-key-file={files['tokens.key']}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--requestheader-client-ca-file={files['front.pem']}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={files['front.crt']}",
            f"--proxy-client-key-file={files['front.key']}",
            "--enable-aggregator-routing=true",  # nothing here routes Service addresses
            "--profiling=false",
            "--shutdown-delay-duration=0s",
        ]

    def _controller_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig_as('system:kube-controller-manager', ['system:masters'])}",
            f"--root-ca-file={self._files['ca.pem']}",
            f"--service-account-private-key-file={self._files['tokens.key']}",
            f"--controllers={','.join(_controllers(self._binaries))}",
            "--leader-elect=false",
            "--secure-port=0",
            "--concurrent-deployment-syncs=2",
        ]


def _write_files(folder: Path, authority: Signer, clients: Signer) -> dict[str, Path]:
    """Every file that a program is told of, by its name."""
    front = Signer("front-proxy")
    for name, pem in (("ca.pem", authority.pem), ("clients.pem", clients.pem), ("front.pem", front.pem)):
        (folder / name).write_bytes(pem)
    pairs: dict[str, Pair] = {
        "server": authority.server(),
        "admin": clients.client("probe", ["system:masters"]),
        "front": front.client("front-proxy-client"),
    }
    for name, pair in pairs.items():
        pair.write(folder, name)
    TokenKeys.write(folder)
    return {path.name: path for path in folder.iterdir()}


def _controllers(binaries: Path) -> tuple[str, ...]:
    """Those of ours that this build knows."""
    said = subprocess.run([binaries / "kube-controller-manager", "--help"], capture_output=True, check=True, text=True)
    return (*CONTROLLERS, OPENSHIFT_CONTROLLER) if OPENSHIFT_CONTROLLER in said.stdout else CONTROLLERS


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _post(url: str, body: dict[str, object]) -> dict[str, dict[str, int]]:
    """Call etcd by its JSON gateway."""
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        decoded: dict[str, dict[str, int]] = json.load(answer)
        return decoded
