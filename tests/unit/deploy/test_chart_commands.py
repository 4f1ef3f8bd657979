"""The command lines in the chart are ones that `weft` understands, and say what the values say."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from chart_documents import FULL, VALUES, Document, pod_specs, rendered
from controlplane.cli.main import command_line


def understood(values: Document, deployment: str) -> dict[str, Any]:
    """The parameters of a Deployment's container, as the command gets them."""
    arguments = next(pod["containers"][0]["args"] for name, pod in pod_specs(rendered(values)) if name == deployment)
    group: Any = typer.main.get_command(command_line(["run", "webhook"]))
    parameters: dict[str, Any] = group.commands[arguments[0]].make_context(arguments[0], arguments[1:]).params
    return parameters


@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
@pytest.mark.parametrize("deployment", ["weft", "weft-webhook"])
def test_every_argument_is_an_option_of_the_command(values: Document, deployment: str) -> None:
    assert understood(values, deployment)["log_level"] in {"info", "debug"}


def test_the_control_plane_is_told_the_meshs_modes() -> None:
    found = understood(FULL, "weft")
    assert found["kubernetes"] is True
    assert found["trust_domain"] == "mesh.example"
    assert (found["access"], found["mtls"], found["egress"]) == ("permissive", "permissive", "refused")
    assert found["webhook_certificate"] == "cert-manager"


def test_the_kubelet_reaches_the_probes_of_the_control_plane() -> None:
    assert understood({}, "weft")["admin_address"] == "0.0.0.0"


def test_the_webhook_is_told_how_to_inject() -> None:
    chosen = {"injector": {"proxyImage": "a:1", "proxyShellImage": "b:2", "redirectImage": "c:3", **FULL["injector"]}}
    found = understood(chosen, "weft-webhook")
    assert (found["proxy_image"], found["proxy_shell_image"], found["redirect_image"]) == ("a:1", "b:2", "c:3")
    assert (found["redirect"], found["native_sidecars"], found["other_meshes"]) == ("cni", "off", True)


def test_the_webhook_is_told_what_sidecars_get() -> None:
    resources = {"requests": {"cpu": "70m", "memory": "100Mi"}, "limits": {"cpu": 2, "memory": "1Gi"}}
    chosen = {
        "imagePullPolicy": "Always", "logLevel": "debug", "concurrency": 4, "resources": resources, "ipv6": False,
        "excludeInboundPorts": "9000-9010,9443", "excludeOutboundPorts": "3306",
        "excludeInboundCidrs": "10.9.0.0/16", "excludeOutboundCidrs": "10.8.0.0/16,fd00::/8",
    }  # fmt: skip
    found = understood({"injector": chosen}, "weft-webhook")
    names = {
        "image_pull_policy": "Always", "proxy_log_level": "debug", "proxy_concurrency": "4", "ipv6": False,
        "proxy_cpu_request": "70m", "proxy_memory_request": "100Mi", "proxy_cpu_limit": "2",
        "proxy_memory_limit": "1Gi",
        "exclude_inbound_ports": "9000-9010,9443", "exclude_outbound_ports": "3306",
        "exclude_inbound_cidrs": "10.9.0.0/16", "exclude_outbound_cidrs": "10.8.0.0/16,fd00::/8",
    }  # fmt: skip
    assert {name: found[name] for name in names} == names


def test_what_is_not_chosen_is_left_to_the_injector() -> None:
    found = understood({}, "weft-webhook")
    unset = ("image_pull_policy", "proxy_log_level", "proxy_concurrency", "proxy_cpu_limit", "exclude_outbound_cidrs")
    assert [found[name] for name in unset] == [None] * 5
    assert (found["proxy_cpu_request"], found["proxy_memory_request"]) == ("50m", "96Mi")


@pytest.mark.parametrize(("value", "flag"), [("auto", "auto"), ("always", "on"), ("never", "off")])
def test_native_sidecars_are_words_that_yaml_does_not_read_as_booleans(value: str, flag: str) -> None:
    assert understood({"injector": {"nativeSidecars": value}}, "weft-webhook")["native_sidecars"] == flag


def test_certificates_are_read_where_the_secret_is_mounted() -> None:
    found = understood({}, "weft-webhook")
    pod = dict(pod_specs(rendered()))["weft-webhook"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert str(found["tls_cert"]) == f"{mounts['tls']}/tls.crt"
    assert str(found["tls_key"]) == f"{mounts['tls']}/tls.key"
