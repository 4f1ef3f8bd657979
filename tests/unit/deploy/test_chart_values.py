"""The chart's values: a typo is an error, and what is documented is what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_documents import Document, rendered
from controlplane.install.chart import InstallError

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "chart"

WRONG: dict[str, Document] = {
    "replicas": {"replicas": 3},
    "replica": {"controlPlane": {"replica": 3}},
    "trustdomain": {"mesh": {"trustdomain": "x"}},
    "trustDomain": {"mesh": {"trustDomain": "Not A Domain"}},
    "access": {"mesh": {"access": "open"}},
    "nativeSidecars": {"injector": {"nativeSidecars": True}},
    "timeoutSeconds": {"admission": {"timeoutSeconds": 31}},
    "injectFailurePolicy": {"admission": {"injectFailurePolicy": "fail"}},
    "memmory": {"webhook": {"resources": {"memmory": "1Gi"}}},
    "enable": {"webhook": {"autoscaling": {"enable": True}}},
    "digest": {"image": {"digest": "latest"}},
    "value": {"priorityClass": {"value": 2_000_000_000}},
    "maxUnavailable": {"controlPlane": {"podDisruptionBudget": {"maxUnavailable": "half"}}},
}


@pytest.mark.parametrize("where", WRONG)
def test_a_mistake_in_the_values_is_refused_with_its_name(where: str) -> None:
    with pytest.raises(InstallError, match=where):
        rendered(WRONG[where])


def test_a_priority_class_without_a_name_is_refused() -> None:
    with pytest.raises(InstallError, match=r"priorityClass\.name is needed"):
        rendered({"priorityClass": {"name": ""}})


def test_cert_manager_without_an_issuer_is_refused() -> None:
    with pytest.raises(InstallError, match=r"certificates\.issuerRef\.name is needed"):
        rendered({"certificates": {"webhook": "cert-manager"}})


def leaves(values: Any, path: str = "") -> set[str]:
    if not isinstance(values, dict) or not values:
        return {path}
    return {leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}".lstrip("."))}


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(part: Document, path: str = "") -> set[str]:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rpartition("/")[2]]
        if "properties" not in part:
            return {path}
        assert part["additionalProperties"] is False, path
        return {leaf for key, item in part["properties"].items() for leaf in known(item, f"{path}.{key}".lstrip("."))}

    values = leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
    maps = {"controlPlane.resources", "webhook.resources", "injector.resources"}  # lists of quantities by name
    narrowed = {next((name for name in maps if leaf.startswith(name)), leaf) for leaf in values}
    offered = {next((name for name in maps if leaf.startswith(name)), leaf) for leaf in known(schema)}
    assert offered - {"global"} == narrowed


def test_the_table_of_values_is_the_values() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    table = page.partition("<!-- values -->")[2].partition("<!-- end of values -->")[0]
    written = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            written[cells[0].strip("`")] = yaml.safe_load(cells[1].strip("`"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(written) == leaves(defaults)
    for path, value in written.items():
        found = defaults
        for key in path.split("."):
            found = found[key]
        assert value == found, path


def test_chart_and_package_are_of_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
    assert chart["version"] == chart["appVersion"]
