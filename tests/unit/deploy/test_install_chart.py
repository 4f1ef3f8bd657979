"""The chart as `weft install` handles it: found, packed, values put together; without Helm's engine, a word."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ca import issuer_secret
from chart_documents import rendered
from controlplane.cli.main import command_line
from controlplane.duties import serving
from controlplane.install import chart, release
from controlplane.install.chart import InstallError, merged, packed, values
from kube.lease import LeaseSettings
from webhook.settings import InjectorSettings


def test_without_helms_engine_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "helm_python", None)
    with pytest.raises(InstallError, match=r"pip install 'weft-mesh\[install\]'"):
        chart.manifest({}, "weft-system")


@pytest.mark.parametrize("command", ["install", "upgrade", "uninstall", "manifest"])
def test_without_helms_engine_every_command_ends_with_a_sentence(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "helm_python", None)
    result = CliRunner().invoke(command_line(["install", "upgrade", "uninstall", "manifest"]), [command])
    assert result.exit_code == 1
    assert "Helm's engine is not here" in result.output


def test_what_uninstall_removes_is_what_the_control_plane_makes() -> None:
    lease = LeaseSettings(namespace="weft-system", identity="test").name
    made = (InjectorSettings().ca_config_map, issuer_secret.NAME, serving.NAME, lease)
    assert made == (release.ROOT_CONFIG_MAP, release.CA_SECRET, release.TLS_SECRET, release.LEASE)


def test_the_packed_chart_holds_the_crds_and_no_link() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(chart.chart_folder()))) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    names = {member.name for member in members}
    assert {"weft/Chart.yaml", "weft/values.schema.json", "weft/files/crds/trafficsplits.yaml"} <= names


def test_later_values_win_and_maps_are_merged() -> None:
    below = {"a": {"x": 1, "y": 2}, "list": [1, 2]}
    assert merged(below, {"a": {"y": 3}, "list": [4]}) == {"a": {"x": 1, "y": 3}, "list": [4]}
    assert below == {"a": {"x": 1, "y": 2}, "list": [1, 2]}


def test_settings_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    rendered()
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("controlPlane: {replicas: 3, logLevel: debug}\n")
    second.write_text("controlPlane: {replicas: 4}\n")
    found = values([first, second], ["controlPlane.replicas=5", "mesh.access=permissive"])
    assert found == {"controlPlane": {"replicas": 5, "logLevel": "debug"}, "mesh": {"access": "permissive"}}


@pytest.mark.parametrize("text", ["controlPlane: [", "\ttab: 1\n"])
def test_a_file_that_is_no_yaml_is_an_error_in_words(text: str, tmp_path: Path) -> None:
    rendered()
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(InstallError):
        values([file])
    with pytest.raises(InstallError, match=r"gone\.yaml can't be read"):
        values([tmp_path / "gone.yaml"])


def test_a_null_takes_a_default_away() -> None:
    rendered()
    (budget, *_) = (
        item for item in rendered({"controlPlane": {"resources": {"limits": None}}}) if item["kind"] == "Deployment"
    )
    assert "limits" not in budget["spec"]["template"]["spec"]["containers"][0]["resources"]


def test_manifest_prints_documents_in_the_order_they_are_created() -> None:
    rendered()
    result = CliRunner().invoke(command_line(["manifest", "install"]), ["manifest", "--set", "controlPlane.replicas=4"])
    documents = list(yaml.safe_load_all(result.output))
    kinds = [document["kind"] for document in documents]
    assert kinds.index("CustomResourceDefinition") < kinds.index("ClusterRole") < kinds.index("Deployment")
    assert set(kinds[-2:]) == {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
    assert next(item for item in documents if item["kind"] == "Deployment")["spec"]["replicas"] == 4
