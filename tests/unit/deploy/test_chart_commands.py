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


@pytest.mark.parametrize(("value", "flag"), [("auto", "auto"), ("always", "on"), ("never", "off")])
def test_native_sidecars_are_words_that_yaml_does_not_read_as_booleans(value: str, flag: str) -> None:
    assert understood({"injector": {"nativeSidecars": value}}, "weft-webhook")["native_sidecars"] == flag


def test_certificates_are_read_where_the_secret_is_mounted() -> None:
    found = understood({}, "weft-webhook")
    pod = dict(pod_specs(rendered()))["weft-webhook"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert str(found["tls_cert"]) == f"{mounts['tls']}/tls.crt"
    assert str(found["tls_key"]) == f"{mounts['tls']}/tls.key"
