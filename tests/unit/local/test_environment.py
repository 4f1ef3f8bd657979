"""Variables and volumes, by Kubernetes' rules."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from local.environment import Missing, PodFacts, command_line, environment, expanded
from local.podspec import PodDocument, TokenSource, read_pod
from local.volumes import owner, volume_files

CONFIG = {("a", "config"): {"kind": "ConfigMap", "data": {"color": "blue"}}}
SECRETS = {("a", "secret"): {"kind": "Secret", "data": {"key": base64.b64encode(b"hush").decode()}}}


def pod(**spec: Any) -> PodDocument:
    containers = spec.pop("containers", [{"name": "app", "command": ["x"]}])
    metadata = {"name": "p", "namespace": "a", "labels": {"app": "web"}}
    return read_pod({"metadata": metadata, "spec": {"containers": containers, **spec}})


def facts(document: PodDocument) -> PodFacts:
    return PodFacts(document, "10.0.0.2", "10.0.0.1", CONFIG, SECRETS)


def variables(env: Sequence[Mapping[str, Any]], **container: Any) -> dict[str, str]:
    document = pod(containers=[{"name": "app", "command": ["x"], "env": env, **container}])
    return environment(document.spec.containers[0], facts(document))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$$", "$"),
    ],
)
def test_variables_are_filled_in_as_kubernetes_does(text: str, means: str) -> None:
    assert expanded(text, {"A": "1", "B": "2"}) == means


def test_a_variable_sees_those_before_it() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]
    assert variables(env)["B"] == "1$(C)"


def test_command_and_args_are_filled_in() -> None:
    document = pod(containers=[{"name": "app", "command": ["$(A)"], "args": ["-p", "$(A)"]}])
    assert command_line(document.spec.containers[0], {"A": "1"}) == ["1", "-p", "1"]


@pytest.mark.parametrize(
    ("path", "means"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "a"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels", 'app="web"\n'),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.0.0.2"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_a_pod_is_told_about_itself(path: str, means: str) -> None:
    assert variables([{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]) == {"X": means}


def test_values_come_from_config_maps_and_secrets() -> None:
    env = [
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "color"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
        {"name": "N", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "none", "optional": True}}},
    ]
    source = [{"prefix": "P_", "configMapRef": {"name": "config"}}]
    assert variables(env, envFrom=source) == {"P_color": "blue", "C": "blue", "S": "hush"}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "x"}}, "ConfigMap a/none does not exist"),
        ({"configMapKeyRef": {"name": "config", "key": "x"}}, "has no key 'x'"),
        ({"fieldRef": {"fieldPath": "spec.secret"}}, "no field 'spec.secret'"),
    ],
)
def test_what_is_missing_is_named_in_a_sentence(source: dict[str, Any], says: str) -> None:
    with pytest.raises(Missing, match=says):
        variables([{"name": "X", "valueFrom": source}])


def test_a_projected_volume_holds_token_bundle_and_labels() -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "weft", "expirationSeconds": 600}},
        {"configMap": {"name": "config", "items": [{"key": "color", "path": "deep/color"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    document = pod(volumes=[{"name": "v", "projected": {"sources": sources}}])
    asked: list[TokenSource] = []

    def issue(source: TokenSource) -> str:
        asked.append(source)
        return "t"

    made = volume_files(document.spec.volumes[0], facts(document), issue)
    assert made.files == {"token": b"t", "deep/color": b"blue", "name": b"p"}
    assert made.secret == {"token"}
    assert made.lifetime == 600
    assert asked == [TokenSource("token", "weft", 600)]


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ({"hostPath": {"path": "/"}}, "hostPath"),
        ({"nfs": {"server": "x"}}, "not known"),
        ({"configMap": {"name": "none"}}, "does not exist"),
    ],
)
def test_a_volume_that_cannot_be_made_is_named(volume: dict[str, Any], says: str) -> None:
    document = pod(volumes=[{"name": "v", **volume}])
    with pytest.raises(Missing, match=says):
        volume_files(document.spec.volumes[0], facts(document), lambda source: source.path)


def test_a_volume_belongs_to_the_one_user_who_mounts_it() -> None:
    mount = [{"name": "v", "mountPath": "/run/x"}]
    proxy = {"name": "proxy", "securityContext": {"runAsUser": 1337}, "volumeMounts": mount}
    app = {"name": "app", "command": ["x"]}
    assert owner(pod(initContainers=[proxy], containers=[app]).spec, "v") == 1337
    assert owner(pod(initContainers=[proxy], containers=[{**app, "volumeMounts": mount}]).spec, "v") is None
