"""A control plane whose workloads' certificates somebody else signs: served, shown and told in metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from prometheus_client import generate_latest

from ca.providers.settings import HandedOverFile, ProviderSettingsError, SpireFile, read_settings
from company_ca import company_root, pem
from controlplane.app import control_plane
from controlplane.cli.ca import show_provider
from controlplane.plane import ControlPlane
from controlplane.settings import ControlPlaneSettings
from mesh.model import Identity
from sds import open_secrets

WEB = Identity("cluster.local", "shop", "web")


def plane_with(folder: Path, provider: HandedOverFile | SpireFile) -> ControlPlane:
    (folder / "manifests").mkdir(exist_ok=True)
    return control_plane(
        ControlPlaneSettings(
            paths=(folder / "manifests",), ca_folder=folder / "ca", xds_address="127.0.0.1", xds_port=0, admin_port=0,
            admin_socket=folder / "admin", ca_provider=provider,
        )
    )  # fmt: skip


async def asked(folder: Path) -> dict[str, Any]:
    """What the admin API answers to `weft ca status`."""
    reader, writer = await asyncio.open_unix_connection(str(folder / "admin"))
    writer.write(b"GET /ca HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
    answer: dict[str, Any] = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.close()
    return answer


@asynccontextmanager
async def running(plane: ControlPlane) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(plane.run(stop))
    async with asyncio.timeout(30):
        while not plane.status.ready:  # noqa: ASYNC110 - readiness is what is asked for
            await asyncio.sleep(0.02)
        yield
        stop.set()
        await task


async def test_workloads_are_signed_by_what_was_handed_over_and_our_servers_by_us(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    company = company_root("company root", now)
    handed = tmp_path / "issuer"
    handed.mkdir()
    for name, content in company.below("company mesh", now).handed_over().items():
        (handed / name).write_bytes(content)
    plane = plane_with(tmp_path, HandedOverFile(folder=str(handed)))
    assert plane.workloads is not None
    async with running(plane):
        given = open_secrets(await plane.workloads.secrets(WEB))
        assert pem(company.certificate) in given.bundle
        # Weft's own issuers sign until every proxy holds the company's root, which a look finds out.
        server = x509.load_pem_x509_certificate(plane.authority.server_certificate(("localhost",), ()).chain_pem)
        assert server.issuer == plane.authority.issuers.intermediate.certificate.subject
        told = (await asked(tmp_path))["provider"]
        assert (told["name"], told["trouble"]) == ("handed-over", "")
        assert "CN=company root" in {root["subject"] for root in told["roots"]}
        show_provider(told)
        assert "signed by handed-over" in capsys.readouterr().out
        metrics = generate_latest(plane.registry).decode()
        assert 'weft_ca_provider_signed_total{provider="handed-over"} 1.0' in metrics
        assert "weft_leaves 1.0" in metrics
        (handed / "ca-key.pem").write_text("nonsense")
        await plane.workloads.look(lambda _identity, _secrets: None)  # type: ignore[attr-defined]
        assert plane.trouble == f"{handed}: ca-key.pem does not hold a private key without a passphrase"
        assert 'weft_ca_provider_trouble{provider="handed-over"} 1.0' in generate_latest(plane.registry).decode()


async def test_with_spire_nobody_is_given_a_key_and_its_roots_are_followed(tmp_path: Path) -> None:
    root = company_root("spire root", datetime.now(UTC))
    (tmp_path / "roots.pem").write_bytes(root.pem)
    plane = plane_with(tmp_path, SpireFile(roots=str(tmp_path / "roots.pem")))
    assert plane.workloads is not None
    async with running(plane):
        assert (plane.workloads.bundle_pem(), await plane.workloads.secrets(WEB)) == (root.pem, {})
        assert (await asked(tmp_path))["provider"] == {"name": "spire", "trouble": ""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("provider: vault\nadress: https://x", "unknown field `adress`"),
        ("provider: vault\naddress: https://x", "missing required field `role`"),
        ("provider: vault\naddress: http://x\nrole: mesh", "address begins with https://"),
        ("provider: volt", "Invalid value 'volt'"),
        ("provider: handed-over", "name either folder or secret"),
        ("provider: cert-manager\nroots: x\nissuer: {kind: Issuer}", "missing required field `name`"),
        ("- a", "Expected `object`"),
    ],
)
def test_a_mistake_in_the_settings_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(ProviderSettingsError) as refused:
        read_settings(tmp_path / "settings.yaml")
    assert str(refused.value).startswith(f"{tmp_path}/settings.yaml: ")
    assert words in str(refused.value)


def test_what_takes_an_api_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProviderSettingsError, match="a Secret is asked by the API server: that takes --kubernetes"):
        plane_with(tmp_path, HandedOverFile(secret="cacerts"))
