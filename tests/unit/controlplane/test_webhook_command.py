"""`weft webhook`: what its options mean for sidecars, and how it refuses those that mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from controlplane import logs
from controlplane.cli import webhook as command
from controlplane.cli.main import command_line
from controlplane.webhook import NativeSidecars, WebhookSettings, native_sidecars
from proxy.redirect import PortRange


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[WebhookSettings]:
    """The settings that a webhook would be started with."""
    found: list[WebhookSettings] = []

    async def serve(settings: WebhookSettings) -> None:
        found.append(settings)

    monkeypatch.setattr(command, "serve", serve)
    monkeypatch.setattr(logs, "configure", lambda _level: None)
    return found


def run(*words: str, **environment: str) -> Any:
    return CliRunner().invoke(command_line(["webhook"]), ["webhook", *words], env=environment)


def test_nothing_said_means_a_pod_of_the_chart(told: list[WebhookSettings]) -> None:
    assert run().exit_code == 0
    [settings] = told
    assert (settings.port, settings.native_sidecars) == (9443, NativeSidecars.AUTO)
    assert settings.files.chain == Path("/var/run/weft/tls/tls.crt")
    injector = settings.injector
    assert (injector.bootstrap.control_plane_host, injector.bootstrap.control_plane_port) == (
        "weft.weft-system.svc",
        15012,
    )
    assert injector.requests == (("cpu", "50m"), ("memory", "96Mi"))
    assert (injector.redirect_by_init, injector.other_meshes, injector.limits) == (True, False, ())


def test_the_namespace_of_the_pod_names_the_control_plane(told: list[WebhookSettings]) -> None:
    run(POD_NAMESPACE="mesh")
    assert told[0].injector.own_namespace == "mesh"
    assert told[0].injector.bootstrap.control_plane_host == "weft.mesh.svc"


def test_options_are_what_annotations_could_say_for_all_pods(told: list[WebhookSettings]) -> None:
    run(
        "--redirect", "cni", "--other-meshes", "--proxy-memory-limit", "1Gi", "--proxy-cpu-request", "10m",
        "--exclude-outbound-ports", "25,9000-9010", "--proxy-concurrency", "4", "--control-plane", "[fd00::1]:1",
    )  # fmt: skip
    injector = told[0].injector
    assert (injector.redirect_by_init, injector.other_meshes) == (False, True)
    assert (injector.requests, injector.limits) == ((("cpu", "10m"), ("memory", "96Mi")), (("memory", "1Gi"),))
    assert injector.redirect.exclude_outbound_ports == (PortRange(25, 25), PortRange(9000, 9010))
    assert (injector.bootstrap.concurrency, injector.bootstrap.control_plane_host) == (4, "[fd00::1]")


def test_every_option_can_come_from_the_environment(told: list[WebhookSettings]) -> None:
    run(WEFT_REDIRECT="cni", WEFT_LISTEN_PORT="1", WEFT_PROXY_LOG_LEVEL="debug", WEFT_NATIVE_SIDECARS="off")
    assert told[0].injector.bootstrap.log_level == "debug"
    assert (told[0].port, told[0].native_sidecars) == (1, NativeSidecars.OFF)


def test_what_kubernetes_sets_beside_our_services_means_nothing(told: list[WebhookSettings]) -> None:
    """Kubernetes documentation, "Service environment variables"."""
    services = {
        f"{name}_{variable}": "tcp://10.96.0.1:15012"
        for name in ("WEFT", "WEFT_WEBHOOK")
        for variable in ("PORT", "SERVICE_PORT", "SERVICE_HOST", "PORT_15012_TCP", "PORT_15012_TCP_ADDR")
    }
    assert run(**services).exit_code == 0
    assert told[0].port == 9443


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--proxy-memory-limit", "128m"), "--proxy-memory-limit must be at least 1Mi"),
        (("--exclude-inbound-cidrs", "10/33"), "--exclude-inbound-cidrs must be networks"),
        (("--proxy-log-level", "loud"), "--proxy-log-level must be one of"),
        (("--control-plane", "weft"), "--control-plane must be HOST:PORT"),
        (("--control-plane", "weft:0"), "--control-plane must be HOST:PORT"),
    ],
)
def test_a_bad_value_is_refused_with_the_options_name(
    told: list[WebhookSettings], words: tuple[str, ...], said: str
) -> None:
    done = run(*words)
    assert (done.exit_code, told) == (2, [])
    assert said in done.stderr


@pytest.mark.parametrize(
    ("version", "native"),
    [
        ({"major": "1", "minor": "36"}, True),
        ({"major": "1", "minor": "29"}, True),
        ({"major": "1", "minor": "29+"}, True),
        ({"major": "1", "minor": "28"}, False),
        ({"major": "1", "minor": "28+"}, False),
        ({"major": "2", "minor": "0"}, True),
        ({}, False),
        (None, False),
    ],
)
def test_native_sidecars_begin_with_1_29(version: Any, native: bool) -> None:
    assert native_sidecars(version) is native
