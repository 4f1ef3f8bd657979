"""What the lease holder keeps as it should be, whatever others do to it: bundles, certificates, trust."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from api_server import ApiServer
from ca.authority import Authority
from ca.issuer_secret import IssuerSecret
from ca.settling import Lifetimes
from cluster_objects import gone
from cluster_world import CRDS, ROOT, uninstall
from controlplane.duties.callers import ADMISSION, CaBundles
from controlplane.duties.serving import LIFETIME, ServingCertificate, dns_names
from controlplane.duties.trust import TrustBundles
from fake_clock import FakeClock
from kube.client import ApiError, Client
from kube.settings import ClientSettings
from openssl import refusal

DOMAIN = "cluster.local"
MERGE = "application/merge-patch+json"
PEM = b"-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def authority(client: Client, namespace: str, clock: FakeClock) -> Authority:
    store = IssuerSecret(client, namespace, DOMAIN, Lifetimes(), lambda: True)
    return Authority(store, await store.opened(clock), DOMAIN, Lifetimes(), clock, lambda: 0.5)


async def bundle_in(client: Client, namespace: str) -> dict[str, str]:
    found = await client.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/weft-root")
    data: dict[str, str] = found["data"]
    return data


def trust(client: Client, *namespaces: str, pem: bytes = PEM) -> TrustBundles:
    return TrustBundles(client, "weft-root", "root.pem", lambda: pem, lambda: frozenset(namespaces))


async def test_each_namespace_gets_the_root_and_keeps_it(client: Client, namespace: str) -> None:
    bundles = trust(client, namespace, "default")
    await bundles.carry_out()
    assert await bundle_in(client, namespace) == await bundle_in(client, "default") == {"root.pem": PEM.decode()}
    path = f"/api/v1/namespaces/{namespace}/configmaps/weft-root"
    body = {"data": {"root.pem": "mine", "other": "kept"}}
    await client.request("PATCH", path, body=body, content_type=MERGE)
    await bundles.carry_out()
    assert await bundle_in(client, namespace) == {"root.pem": PEM.decode(), "other": "kept"}
    await client.request("DELETE", path)
    await bundles.carry_out()
    assert await bundle_in(client, namespace) == {"root.pem": PEM.decode()}


async def test_a_namespace_that_is_gone_by_now_keeps_none_from_its_bundle(client: Client, namespace: str) -> None:
    await trust(client, "never-there", namespace, pem=b"other").carry_out()
    assert await bundle_in(client, namespace) == {"root.pem": "other"}


async def test_a_bundle_that_is_right_is_not_written_again(client: Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/weft-root"
    await trust(client, namespace).carry_out()
    before = (await client.request("GET", path))["metadata"]["resourceVersion"]
    await trust(client, namespace).carry_out()
    assert (await client.request("GET", path))["metadata"]["resourceVersion"] == before


async def served(client: Client, namespace: str) -> dict[str, bytes]:
    secret = await client.request("GET", f"/api/v1/namespaces/{namespace}/secrets/weft-webhook-tls")
    return {name: b64decode(content) for name, content in secret["data"].items()}


async def test_the_webhook_gets_a_certificate_under_the_root_for_its_service(
    client: Client, namespace: str, authority: Authority, clock: FakeClock, tmp_path: Path
) -> None:
    names = dns_names("weft-webhook", namespace)
    serving = ServingCertificate(client, namespace, authority, names, clock)
    await serving.carry_out()
    data = await served(client, namespace)
    options = ("-purpose", "sslserver", "-verify_hostname", f"weft-webhook.{namespace}.svc")
    assert refusal(tmp_path, data["ca.crt"], data["tls.crt"], *options, at=clock.now()) == ""
    assert serving.ends == clock.now() + LIFETIME
    await serving.carry_out()
    assert await served(client, namespace) == data, "it is good and stays"


async def test_the_webhooks_certificate_is_replaced_after_two_thirds_of_its_life(
    client: Client, namespace: str, authority: Authority, clock: FakeClock
) -> None:
    serving = ServingCertificate(client, namespace, authority, dns_names("weft-webhook", namespace), clock)
    await serving.carry_out()
    first = await served(client, namespace)
    clock.skip(LIFETIME / 2)
    await serving.carry_out()
    assert await served(client, namespace) == first
    clock.skip(LIFETIME / 6 + timedelta(hours=1))
    await serving.carry_out()
    second = await served(client, namespace)
    assert second["ca.crt"] == first["ca.crt"]
    assert x509.load_pem_x509_certificate(second["tls.crt"]).not_valid_after_utc == clock.now() + LIFETIME


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
async def test_what_a_person_broke_of_the_webhooks_certificate_is_made_anew(
    client: Client, namespace: str, authority: Authority, clock: FakeClock, tmp_path: Path, name: str
) -> None:
    serving = ServingCertificate(client, namespace, authority, dns_names("weft-webhook", namespace), clock)
    await serving.carry_out()
    body = {"data": {name: b64encode(b"nonsense").decode()}}
    path = f"/api/v1/namespaces/{namespace}/secrets/weft-webhook-tls"
    await client.request("PATCH", path, body=body, content_type=MERGE)
    await serving.carry_out()
    data = await served(client, namespace)
    assert refusal(tmp_path, authority.bundle_pem(), data["tls.crt"], at=clock.now()) == ""
    assert b"PRIVATE KEY" in data["tls.key"]


def webhook(name: str, service: str, namespace: str = "weft-system") -> dict[str, Any]:
    return {
        "name": name,
        "clientConfig": {"service": {"name": service, "namespace": namespace, "path": "/inject", "port": 443}},
        "rules": [
            {"apiGroups": ["example.invalid"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}
        ],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }


@pytest.fixture
async def configuration(client: Client) -> AsyncIterator[str]:
    """A webhook configuration with two entries of ours and one of somebody else's."""
    path = f"{ADMISSION}/mutatingwebhookconfigurations"
    document = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "weft-webhook"},
        "webhooks": [
            webhook("a.weft.dev", "weft-webhook"),
            webhook("b.other.dev", "other"),
            webhook("c.weft.dev", "weft-webhook"),
        ],
    }
    await client.request("POST", path, body=document)
    yield f"{path}/weft-webhook"
    await client.request("DELETE", f"{path}/weft-webhook")


def callers(client: Client, pem: bytes, *definitions: str) -> CaBundles:
    return CaBundles(
        client, "weft-system", "weft-webhook", lambda: pem, configurations=("weft-webhook",), definitions=definitions
    )


async def bundles(client: Client, path: str) -> list[bytes]:
    found = (await client.request("GET", path))["webhooks"]
    return [b64decode(each["clientConfig"].get("caBundle", "")) for each in found]


async def test_only_entries_that_call_our_service_are_told_whom_to_trust(
    client: Client, configuration: str, authority: Authority
) -> None:
    pem = authority.bundle_pem()
    await callers(client, pem).carry_out()
    assert await bundles(client, configuration) == [pem, b"", pem]


async def test_a_bundle_that_others_change_is_put_right(
    client: Client, configuration: str, authority: Authority
) -> None:
    pem = authority.bundle_pem()
    await callers(client, pem).carry_out()
    patch = [{"op": "remove", "path": "/webhooks/2/clientConfig/caBundle"}]
    await client.request("PATCH", configuration, body=patch, content_type="application/json-patch+json")
    await callers(client, pem).carry_out()
    assert await bundles(client, configuration) == [pem, b"", pem]
    version = (await client.request("GET", configuration))["metadata"]["resourceVersion"]
    await callers(client, pem).carry_out()
    assert (await client.request("GET", configuration))["metadata"]["resourceVersion"] == version


async def test_the_crds_we_convert_are_told_too_and_missing_ones_keep_nothing_from_the_rest(
    client: Client, authority: Authority
) -> None:
    document = yaml.safe_load((ROOT / "deploy" / "crds" / "trafficsplits.yaml").read_text())
    name = document["metadata"]["name"]
    await uninstall(client, "trafficsplits")
    await client.request("POST", CRDS, body=document)
    try:
        pem = authority.bundle_pem()
        await callers(client, pem, "not.installed.example", name).carry_out()
        found = await client.request("GET", f"{CRDS}/{name}")
        assert b64decode(found["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"]) == pem
    finally:
        await uninstall(client, "trafficsplits")
    assert await gone(client, f"{CRDS}/{name}")


async def test_a_right_that_is_missing_is_an_error_and_no_silence(
    client: Client, namespace: str, api_server: ApiServer
) -> None:
    kubeconfig = await asyncio.to_thread(api_server.kubeconfig_as, "nobody")
    powerless = await Client.open(ClientSettings(kubeconfig=kubeconfig, context=None))
    try:
        with pytest.raises(ApiError, match="forbidden"):
            await trust(powerless, namespace).carry_out()
    finally:
        await powerless.close()
