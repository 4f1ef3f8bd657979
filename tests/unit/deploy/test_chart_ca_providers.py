"""Who signs workloads' certificates, as the chart sets it up: a file the control plane reads, and its rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ca.providers.settings import (
    CertManagerFile,
    ClusterSignerFile,
    HandedOverFile,
    ProviderFile,
    SpireFile,
    VaultFile,
    read_settings,
)
from chart_documents import one, rendered
from rbac_rules import granted, on

ROOTS = "/etc/weft/roots/ca.crt"
SETTINGS: dict[str, tuple[dict[str, Any], type[ProviderFile]]] = {
    "handed-over": ({"folder": "/etc/weft/issuer"}, HandedOverFile),
    "cert-manager": ({"issuer": {"name": "company", "kind": "ClusterIssuer"}, "roots": ROOTS}, CertManagerFile),
    "kubernetes": ({"signerName": "company.example/mesh"}, ClusterSignerFile),
    "vault": ({"address": "https://vault.example:8200", "role": "mesh", "roots": ROOTS}, VaultFile),
    "spire": ({"roots": ROOTS}, SpireFile),
}


def values(provider: str, settings: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    chosen = settings if settings is not None else SETTINGS[provider][0]
    return {"certificates": {"provider": provider, "providerSettings": chosen, **more}}


@pytest.mark.parametrize("provider", SETTINGS)
def test_the_settings_of_the_chart_are_a_file_that_the_control_plane_reads(provider: str, tmp_path: Path) -> None:
    documents = rendered(values(provider))
    file = tmp_path / "settings.yaml"
    file.write_text(one(documents, "ConfigMap", "weft-ca-provider")["data"]["settings.yaml"])
    assert isinstance(read_settings(file), SETTINGS[provider][1])
    pod = one(documents, "Deployment", "weft")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert "--ca-provider=/etc/weft/ca-provider/settings.yaml" in container["args"]
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounted["ca-provider"] == "/etc/weft/ca-provider"
    assert "ca-provider" in {each["name"] for each in pod["spec"]["volumes"]}
    other = rendered(values(provider, {**SETTINGS[provider][0], "roots": "/etc/weft/roots/other"}))
    changed = one(other, "Deployment", "weft")["spec"]["template"]["metadata"]["annotations"]
    assert changed != pod["metadata"]["annotations"], "other settings restart the control plane"


def test_by_default_there_is_nothing_of_it() -> None:
    documents = rendered()
    assert "ca-provider" not in yaml.safe_dump_all(documents)


RECORD = (*on("get update", "", "secrets", "weft-trusted-roots", namespaced=True),)
EXPECTED = {
    "handed-over": [*RECORD],
    "vault": [*RECORD],
    "spire": [],
    "cert-manager": [
        *RECORD, *on("create get list delete", "cert-manager.io", "certificaterequests", namespaced=True)
    ],
    "kubernetes": [
        *RECORD, *on("create get list delete", "certificates.k8s.io", "certificatesigningrequests"),
        *on("list", "certificates.k8s.io", "clustertrustbundles"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("provider", EXPECTED)
def test_a_provider_takes_no_more_rights_than_it_needs(provider: str) -> None:
    assert granted(rendered(values(provider)), "weft-ca-provider") == {*EXPECTED[provider]}


def test_a_secret_that_is_read_by_the_api_server_is_granted_by_its_name() -> None:
    found = granted(rendered(values("handed-over", {"secret": "cacerts"})), "weft-ca-provider")
    assert {*on("get", "", "secrets", "cacerts", namespaced=True)} <= found


def test_files_and_the_passphrase_are_mounted_and_sidecars_get_the_socket() -> None:
    documents = rendered({
        **values("spire", rootsConfigMap="spire-bundle", issuerSecret="cacerts", keyPassphraseSecret="passphrase"),
        "injector": {"spiffe": {"driver": "csi.spiffe.io"}},
    })  # fmt: skip
    pod = one(documents, "Deployment", "weft")["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["roots"]["configMap"]["name"] == "spire-bundle"
    assert volumes["issuer"]["secret"]["secretName"] == "cacerts"
    assert volumes["ca-key"]["secret"]["secretName"] == "passphrase"
    assert {each["name"] for each in pod["containers"][0]["volumeMounts"]} == volumes.keys()
    assert "--ca-key-passphrase-file=/etc/weft/ca-key/passphrase" in pod["containers"][0]["args"]
    webhook = one(documents, "Deployment", "weft-webhook")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--spiffe-driver=csi.spiffe.io", "--spiffe-socket=/run/spiffe/spire-agent.sock"} <= set(webhook)
