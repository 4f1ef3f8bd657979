"""What the injector makes of pods of many shapes: `input.yaml` in, `want.yaml` out.

`plain` records everything. Each other case records what is different from it, so that a reader sees what the case is
about: of containers and arguments that `plain` has too only the parts that differ are kept, and `{}` means none.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrapped import certificate
from proxy.redirect import RedirectSettings
from webhook.inject import Injection, InjectorSettings, NamespaceView, inject

FOLDER = Path(__file__).parent
CASES = sorted(path.parent.name for path in FOLDER.glob("*/input.yaml"))
ENVOY = str(Path(sys.executable).parent / "envoy")
OURS = ("weft-proxy", "weft-redirect")
IN_POD = {"POD_IP": "127.0.0.1", "POD_NAME": "web", "POD_NAMESPACE": "shop", "SERVICE_ACCOUNT": "default"}


def read(case: str) -> tuple[dict[str, Any], NamespaceView, InjectorSettings, bool]:
    given = yaml.safe_load((FOLDER / case / "input.yaml").read_text())
    wanted = dict(given.get("settings", {}))
    redirect = dict(wanted.pop("redirect", {}))
    for name in ("exclude_inbound_cidrs", "exclude_outbound_cidrs"):
        redirect[name] = tuple(ip_network(text) for text in redirect.get(name, ()))
    settings = InjectorSettings(redirect=RedirectSettings(**redirect), **wanted)
    return given["pod"], NamespaceView(**given["namespace"]), settings, given.get("everything", False)


def injection(case: str) -> Injection:
    pod, namespace, settings, everything = read(case)
    return inject(pod, namespace, settings, everything=everything)


def expanded(text: str) -> str:
    """An argument as Kubernetes passes it on ("Define dependent environment variables")."""
    pattern = r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)"
    return re.sub(pattern, lambda match: "$" if match[0] == "$$" else IN_POD.get(match[1], match[0]), text)


def readable(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with our containers' arguments as structures."""
    shown = copy.deepcopy(pod)
    for container in (*(shown["spec"].get("initContainers") or ()), *shown["spec"]["containers"]):
        if container["name"] == "weft-proxy" and "args" in container:
            options = dict(zip(container["args"][0:-1:2], container["args"][1::2], strict=False))
            container["args"] = options | {"--config-yaml": json.loads(options["--config-yaml"])}
        if container["name"] == "weft-redirect" and "args" in container:
            container["args"] = {"v4": container["args"][0].split("\n"), "v6": container["args"][1].split("\n")}
    return shown


def unlike(made: Any, plain: Any) -> Any:
    """What of `made` is not in `plain`."""
    if isinstance(made, dict) and isinstance(plain, dict):
        gone: dict[str, Any] = {key: None for key in plain if key not in made}
        return gone | {
            key: unlike(value, plain[key]) if key in plain else value
            for key, value in made.items()
            if key not in plain or value != plain[key]
        }
    if isinstance(made, list) and isinstance(plain, list):
        if len(made) == len(plain) == 1:
            return [unlike(made[0], plain[0])]
        known = {item["name"]: item for item in plain if isinstance(item, dict) and "name" in item}
        named = [item for item in made if isinstance(item, dict) and "name" in item]
        if known and len(named) == len(made):
            changed = [item for item in made if item != known.get(item["name"])]
            return [{"name": item["name"]} | unlike(item, known.get(item["name"], {})) for item in changed]
        return [item for item in made if item not in plain]
    return made


def shown(case: str) -> dict[str, Any]:
    done = injection(case)
    pod, *_ = read(case)
    told: dict[str, Any] = {"reason": done.reason}
    if done.problems:
        told["problems"] = [str(problem) for problem in done.problems]
    if not done.injected:
        assert done.pod == pod
        return told
    if case == "plain":
        return told | {"pod": readable(done.pod)}
    made, plain = readable(done.pod), readable(injection("plain").pod)
    theirs = {item["name"]: item for group in ("initContainers", "containers") for item in plain["spec"].get(group, ())}
    for group in ("initContainers", "containers"):
        for index, item in enumerate(made["spec"].get(group) or ()):
            if item["name"] in OURS:
                made["spec"][group][index] = {"name": item["name"]} | unlike(item, theirs[item["name"]])
    made["spec"]["volumes"] = [item for item in made["spec"]["volumes"] if item not in plain["spec"]["volumes"]]
    if not made["spec"]["volumes"]:
        del made["spec"]["volumes"]
    return told | {"pod": made}


@pytest.mark.parametrize("case", CASES)
def test_pod_becomes_what_is_wanted(case: str, update_golden: bool) -> None:
    want = FOLDER / case / "want.yaml"
    made = yaml.safe_dump(shown(case), sort_keys=False, width=120, allow_unicode=True)
    if update_golden:
        want.write_text(made)
    assert yaml.safe_load(made) == yaml.safe_load(want.read_text())


@pytest.mark.parametrize("case", CASES)
def test_injecting_twice_changes_nothing_and_the_input_is_never_changed(case: str) -> None:
    pod, namespace, settings, everything = read(case)
    before = copy.deepcopy(pod)
    once = inject(pod, namespace, settings, everything=everything)
    assert pod == before
    again = copy.deepcopy(once.pod)
    twice = inject(once.pod, namespace, settings, everything=everything)
    assert twice.pod == again
    assert not twice.injected


def test_every_bootstrap_is_accepted_by_envoy(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_bytes(certificate().pem)
    (tmp_path / "token").write_text("token")
    documents: set[str] = set()
    for case in CASES:
        spec = injection(case).pod["spec"]
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            if container.get("name") == "weft-proxy" and "args" in container:
                text = expanded(container["args"][1]).replace("/var/run/secrets/weft/ca", str(tmp_path))
                documents.add(text.replace("/var/run/secrets/weft", str(tmp_path)))
    assert len(documents) > 10
    node = ["--service-node", "shop/web", "--service-cluster", "default.shop"]
    for text in documents:
        command = [ENVOY, "--mode", "validate", "--config-yaml", text, "--log-level", "error", *node]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
