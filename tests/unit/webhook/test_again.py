"""A pod that has its sidecar is asked about again: what another webhook added since is probed through it too."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from kube.enrolment import INJECTED
from webhook.inject import Injection, InjectorSettings, NamespaceView, inject

GRPC = {"grpc": {"port": 9000}}
HTTP = {"httpGet": {"path": "/a$b", "port": 8080, "httpHeaders": [{"name": "X", "value": "y"}]}, "periodSeconds": 3}


def injection(pod: dict[str, Any], *, native: bool = True) -> Injection:
    settings = InjectorSettings(native_sidecar=native)
    return inject(pod, NamespaceView("shop"), settings, everything=True)


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"containers": list(containers)}}


def arguments(made: dict[str, Any]) -> Any:
    everyone = (*made["spec"]["initContainers"], *made["spec"]["containers"])
    words = next(each for each in everyone if each["name"] == "weft-proxy")["args"]
    return words[:1], json.loads(words[1]), words[2:]


def clusters(document: Any) -> list[Any]:
    return sorted(document["static_resources"]["clusters"], key=lambda cluster: str(cluster["name"]))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("probe", [HTTP, GRPC, {"tcpSocket": {"port": 9000}}])
def test_an_added_container_is_probed_as_if_it_had_been_there(probe: Any, native: bool) -> None:
    web, added = {"name": "web", "livenessProbe": HTTP}, {"name": "added", "readinessProbe": probe}
    first = injection(pod(web), native=native).pod
    first["spec"]["containers"].append(copy.deepcopy(added))
    again = injection(first, native=native)
    assert again.injected
    whole = injection(pod(web, added), native=native).pod
    assert again.pod["spec"]["containers"][-2:] == whole["spec"]["containers"][-2:]
    (_, made, rest), (_, wanted, wanted_rest) = arguments(again.pod), arguments(whole)
    assert (clusters(made), rest) == (clusters(wanted), wanted_rest)
    assert made["static_resources"]["listeners"] == wanted["static_resources"]["listeners"]


def test_a_third_question_changes_nothing() -> None:
    first = injection(pod({"name": "web"})).pod
    first["spec"]["containers"].append({"name": "added", "readinessProbe": HTTP})
    second = injection(first).pod
    third = injection(second)
    assert (third.injected, third.pod, third.reason) == (False, second, "it has its sidecar already")


def test_an_added_container_without_probes_changes_nothing() -> None:
    first = injection(pod({"name": "web", "livenessProbe": HTTP})).pod
    first["spec"]["containers"].append({"name": "added"})
    assert injection(first).pod == first


@pytest.mark.parametrize("words", [None, [], ["--config-yaml"], ["--config-yaml", "{}"], ["--config-yaml", "[1"]])
def test_a_sidecar_that_is_not_of_our_making_is_left_as_it_is(words: Any) -> None:
    theirs = pod({"name": "weft-proxy", "args": words}, {"name": "web", "livenessProbe": HTTP})
    theirs["metadata"]["annotations"] = {INJECTED: "true"}
    before = copy.deepcopy(theirs)
    done = injection(theirs)
    assert (done.pod, done.injected, done.problems) == (before, False, ())
