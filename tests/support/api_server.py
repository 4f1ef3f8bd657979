"""The API server that tests talk to: the fake of `tests/fakes/`, or real binaries.

Rule: a test does not know which it is. `KUBEBUILDER_ASSETS` names the folder of the binaries (kube-apiserver and etcd,
and kube-controller-manager for what controllers do); without it the fake answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from real_api_server import RealApiServer, assets


class ApiServer(Protocol):
    """What a test may do with either. Everything here blocks until it is done."""

    real: bool
    controllers: bool
    """Whether Deployments get pods and Services EndpointSlices."""
    ca_pem: bytes
    admin_kubeconfig: Path

    @property
    def url(self) -> str:
        """Where it answers."""

    def kubeconfig_as(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of that user, to whom RBAC applies."""

    def restart(self) -> None:
        """End it and start it again at the same address, with everything it had stored."""

    def go_away(self) -> None:
        """Refuse connections until `come_back`."""

    def come_back(self) -> None:
        """After `go_away`."""

    def compact(self) -> None:
        """Forget old versions: watches and lists that go on from one are told 410. May restart the server."""

    def stop(self) -> None:
        """End it for good."""


def start_api_server() -> ApiServer:
    """The one the environment asks for."""
    if binaries := assets():
        return RealApiServer.start(binaries)
    from tests.fakes.server import FakeApiServer  # noqa: PLC0415

    server: ApiServer = FakeApiServer.start()
    return server
