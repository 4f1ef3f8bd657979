"""What the bootstrap document makes a real Envoy do: find the control plane, prove who it is, tell how it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrapped import BootstrappedEnvoy, EmptyControlPlane, certificate, wait_until
from proxy import ports
from proxy.bootstrap import BootstrapSettings
from xds.resource import CLUSTER, LISTENER, RUNTIME


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[EmptyControlPlane]:
    made = certificate()
    (tmp_path / "bundle.pem").write_bytes(made.pem)
    (tmp_path / "token").write_text("first-token")
    with EmptyControlPlane(made) as serving:
        yield serving


@pytest.fixture
def settings(control_plane: EmptyControlPlane, tmp_path: Path) -> BootstrapSettings:
    return BootstrapSettings(
        control_plane_host="localhost",
        control_plane_port=control_plane.port,
        ca_file=str(tmp_path / "bundle.pem"),
        token_file=str(tmp_path / "token"),
    )


def test_each_stream_proves_itself_with_the_token_as_it_is_then(
    control_plane: EmptyControlPlane, settings: BootstrapSettings, tmp_path: Path
) -> None:
    with BootstrappedEnvoy(settings, tmp_path) as envoy:
        envoy.wait_ready()
        (tmp_path / "token").write_text("second-token")
        control_plane.end_streams()
        wait_until(lambda: len(control_plane.streams) >= 2)
    assert [stream.authorization for stream in control_plane.streams[:2]] == [
        "Bearer first-token",
        "Bearer second-token",
    ]


def test_r3_the_node_is_sent_once_a_stream_and_names_the_pod(
    control_plane: EmptyControlPlane, settings: BootstrapSettings, tmp_path: Path
) -> None:
    with BootstrappedEnvoy(settings, tmp_path) as envoy:
        envoy.wait_ready()
        wait_until(lambda: len(control_plane.streams[0].requests) >= 6)
    requests = control_plane.streams[0].requests
    assert [request.node.id for request in requests[:6]] == ["shop/web-0", "", "", "", "", ""]
    assert {request.type_url for request in requests} == {RUNTIME, CLUSTER, LISTENER}


def test_a_proxy_that_was_told_nothing_is_not_ready(
    control_plane: EmptyControlPlane, settings: BootstrapSettings, tmp_path: Path
) -> None:
    (tmp_path / "bundle.pem").write_bytes(certificate().pem)  # it trusts somebody else
    with BootstrappedEnvoy(settings, tmp_path) as envoy:
        wait_until(lambda: envoy.get("/ready", ports.ADMIN)[0] != 0)
        assert envoy.get("/ready", ports.ADMIN)[0] == 503
        assert envoy.get("/healthz/ready")[0] != 200
    assert not control_plane.streams


def test_health_and_metrics_show_nothing_else_of_the_admin_interface(
    control_plane: EmptyControlPlane, settings: BootstrapSettings, tmp_path: Path
) -> None:
    with BootstrappedEnvoy(settings, tmp_path) as envoy:
        envoy.wait_ready()
        status, text = envoy.get("/stats/prometheus", ports.METRICS)
        assert status == 200
        assert "envoy_server_live" in text
        assert envoy.get("/config_dump", ports.METRICS)[0] == 404
        assert envoy.get("/quitquitquit", ports.HEALTH, "POST")[0] == 404
        assert envoy.get("/healthz/ready", ports.HEALTH, "POST")[0] == 404
        assert envoy.get("/healthz/ready")[0] == 200


def test_a_replaced_control_plane_is_found_again_within_seconds(
    control_plane: EmptyControlPlane, settings: BootstrapSettings, tmp_path: Path
) -> None:
    with BootstrappedEnvoy(settings, tmp_path) as envoy:
        envoy.wait_ready()
        control_plane.end_streams()
        wait_until(lambda: len(control_plane.streams) == 2, deadline=10)
        assert envoy.get("/healthz/ready")[0] == 200
