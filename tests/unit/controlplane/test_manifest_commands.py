"""weft validate, translate and inject, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import world
from controlplane.cli.main import command_line

GOOD = world.base() + "\n---\n" + world.allow_http("web-v1", "client")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def weft(command: str, *words: str) -> Result:
    return CliRunner().invoke(command_line([command]), [command, *words])


def test_validate_says_nothing_against_what_is_right(folder: Path) -> None:
    result = weft("validate", "-f", str(folder))
    assert result.exit_code == 0, result.output
    assert "0 errors, 0 warnings" in result.output


def test_f4_validate_and_translate_read_identity_bindings_where_they_are_told_to(folder: Path) -> None:
    binding = {"schemes": {"serviceAccount": "other"}}
    target = world.target(
        "bound", "web-v2", [{"kind": "IdentityBinding", "name": "callers"}], [world.group_ref("allow-web-v1")]
    )
    (folder / "bound.yaml").write_text(world.manifests(
        world.thing("access.smi-spec.io/v1alpha4", "IdentityBinding", "callers", spec=binding), target
    ))  # fmt: skip
    without, given = (weft("validate", "-f", str(folder), *words) for words in ([], ["--identity-bindings"]))
    assert (without.exit_code, given.exit_code) == (1, 0), given.output
    assert "1 errors, 1 warnings" in without.output
    shown = weft("translate", "-f", str(folder), "--proxy", "test/web-v2", "--identity-bindings")
    assert "spiffe://cluster.local/ns/test/sa/other" in shown.output
    assert "sa/other" not in weft("translate", "-f", str(folder), "--proxy", "test/web-v2").output


def test_validate_names_file_line_object_field_and_rule_and_exits_1(folder: Path) -> None:
    (folder / "bad.yaml").write_text(
        "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: s, namespace: test}\n"
        "spec:\n  service: web\n  backends:\n  - service: web-v1\n    weight: -1\n"
    )
    result = weft("validate", "-f", str(folder), "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.output)
    assert (problem["kind"], problem["namespace"], problem["name"]) == ("TrafficSplit", "test", "s")
    assert (problem["field"], problem["rule"]) == ("spec.backends[0].weight", "V5")
    assert (Path(problem["file"]).name, problem["line"]) == ("bad.yaml", 8)


def test_translate_prints_what_a_role_is_sent(folder: Path) -> None:
    result = weft("translate", "-f", str(folder), "--proxy", "test/client", "--type", "Cluster", "-o", "json")
    assert result.exit_code == 0, result.output
    shown: dict[str, Any] = json.loads(result.output)
    assert list(shown) == ["Cluster"]
    assert shown["Cluster"]["test/web-v1/80/http2"]["resource"]["type"] == "EDS"


def test_translate_prints_yaml_that_says_the_same_as_its_json(folder: Path) -> None:
    words = ("translate", "-f", str(folder), "--proxy", "test/client")
    as_yaml, as_json = weft(*words), weft(*words, "-o", "json")
    assert as_yaml.exit_code == 0, as_yaml.output
    assert yaml.safe_load(as_yaml.output) == json.loads(as_json.output)


def test_translate_names_the_pods_there_are_when_it_does_not_find_one(folder: Path) -> None:
    result = weft("translate", "-f", str(folder), "--proxy", "test/nobody")
    assert result.exit_code == 1
    assert "test/client-" in result.output


def test_inject_adds_the_sidecar_where_a_label_enrols_and_tells_why_not_elsewhere(folder: Path) -> None:
    result = weft("inject", "-f", str(folder))
    assert result.exit_code == 0, result.output
    documents = {
        (item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(result.stdout) if item
    }  # fmt: skip
    sidecars = {
        name: [container["name"] for container in item["spec"]["template"]["spec"].get("initContainers", [])]
        for (kind, name), item in documents.items()
        if kind == "Deployment"
    }
    assert sidecars["client"] == ["weft-redirect", "weft-proxy"]
    assert sidecars["quiet"] == []
    assert "Deployment test/quiet" in result.stderr
