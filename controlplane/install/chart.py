"""The Helm chart as a value: found, packed, its values put together, rendered.

Rule: Helm's engine is imported here and in `release` only, and only when it is needed: it is an optional extra of
75 MB. What it says of a mistake reaches the user as an InstallError in its own words.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import yaml

RELEASE: Final = "weft"
"""The name of the release; the objects' names do not depend on it, so there is one Weft in a cluster."""

NAMESPACE: Final = "weft-system"
"""Where the control plane runs unless the user chooses otherwise."""

_PLACES: Final = (
    Path(__file__).parents[2] / "deploy" / "chart",  # a checkout, or an editable install of one
    Path(__file__).parents[1] / "chart",  # the wheel (hatch_build.py puts it there)
)

_ORDER: Final = {
    kind: position
    for position, kind in enumerate(
        (
            "Namespace", "NetworkPolicy", "PriorityClass", "PodDisruptionBudget", "ServiceAccount", "Secret",
            "ConfigMap", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
            "Service", "Deployment", "HorizontalPodAutoscaler",
        )
    )
}  # fmt: skip
"""The order Helm creates the kinds of this chart in; what is not named comes last."""

Document = dict[str, Any]


class InstallError(Exception):
    """Weft could not be rendered, installed or removed; the text says why, in a sentence."""


def engine() -> ModuleType:
    """Helm's engine. Raises InstallError where the extra is not installed."""
    try:
        import helm_python  # noqa: PLC0415 - 85 MB of shared library that most commands never need
    except ImportError as error:
        raise InstallError(
            "Helm's engine is not here; install it with `pip install 'weft-mesh[install]'`, or use the chart in "
            f"deploy/chart with a Helm of your own ({error})"
        ) from error
    return helm_python


@contextmanager
def reported() -> Iterator[None]:
    """What Helm's engine refuses, as an InstallError."""
    helm = engine()
    try:
        yield
    except helm.HelmError as error:
        raise InstallError(" ".join(str(error).split())) from error


def chart_folder() -> Path:
    """Where the chart is."""
    found = next((place for place in _PLACES if (place / "Chart.yaml").is_file()), None)
    if found is None:
        raise InstallError("the chart is missing from this installation of Weft: " + " and ".join(map(str, _PLACES)))
    return found


def packed(folder: Path) -> bytes:
    """The chart as a `.tgz`, with links followed: Helm reads those with a remark on standard error."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", dereference=True) as archive:
        for parent, _, names in os.walk(folder, followlinks=True):
            for name in sorted(names):
                path = Path(parent, name)
                archive.add(path, arcname=f"{RELEASE}/{path.relative_to(folder)}")
    return made.getvalue()


@contextmanager
def loaded() -> Iterator[Any]:
    """The chart in Helm's engine."""
    helm = engine()
    with reported(), helm.Chart.load_archive(packed(chart_folder())) as chart:
        yield chart


def values(files: Sequence[Path] = (), settings: Sequence[str] = ()) -> Document:
    """What the user set: files in their order, then `--set` expressions. Raises InstallError.

    Unlike Helm's, an index in an expression (`a[0]=x`) makes a list of its own and never changes one in a file.
    """
    helm = engine()
    found: Document = {}
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InstallError(f"the values in {file} can't be read: {error}") from error
        with reported():
            found = merged(found, helm.values_from_yaml(text))
    if settings:
        with reported():
            found = merged(found, helm.parse_set_string(",".join(settings)))
    return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Document:
    """Two sets of values, the second winning; maps are merged, all else is replaced. A null takes a default away."""
    result = dict(below)
    for key, value in above.items():
        former = result.get(key)
        result[key] = merged(former, value) if isinstance(former, dict) and isinstance(value, dict) else value
    return result


def manifest(chosen: Mapping[str, Any], namespace: str, *, upgrade: bool = False) -> list[Document]:
    """The objects an install would apply, in the order they are created. Raises InstallError; no cluster is asked."""
    with loaded() as chart:
        chart.validate_schema(dict(chosen))
        texts = chart.render(
            dict(chosen), name=RELEASE, namespace=namespace, is_install=not upgrade, is_upgrade=upgrade, revision=1
        )
    documents = [
        document
        for path, text in sorted(texts.items())
        if not path.endswith("NOTES.txt")
        for document in yaml.safe_load_all(text)
        if document
    ]
    return sorted(documents, key=lambda document: _ORDER.get(document["kind"], len(_ORDER)))


def notes(chosen: Mapping[str, Any], namespace: str, *, upgrade: bool) -> str:
    """What to do next, as the chart says it."""
    with loaded() as chart:
        texts = chart.render(
            dict(chosen), name=RELEASE, namespace=namespace, is_install=not upgrade, is_upgrade=upgrade, revision=1
        )
    return str(texts[f"{RELEASE}/templates/NOTES.txt"]).strip()
