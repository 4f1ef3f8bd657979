"""weft describe and weft authz on manifests, as a person types them. On a running mesh: tests/e2e/test_adoption.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import world
from controlplane.cli.main import command_line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(world.base())
    (tmp_path / "rules.yaml").write_text(world.manifests(
        world.route_group("api", {"name": "read", "pathRegex": "/api/", "methods": ["GET"]}),
        world.target("api", "web-v1", [world.account("client")], [world.group_ref("api")]),
    ) + "\n---\n" + world.split("canary", "web", {"web-v1": 90, "web-v2": 10, "web-v3": 5, "quiet": 0})
      + "\n---\n" + world.allow_tcp("lines", "client", "other"))  # fmt: skip
    return tmp_path


def weft(folder: Path, command: str, *words: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})
    return runner.invoke(command_line([command]), [command, *words, "-f", str(folder)])


def view(folder: Path, command: str, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(weft(folder, command, *words, "-o", "json").stdout)
    return found


def test_a_pod_is_described_with_its_callers_modes_and_what_decides_them(folder: Path) -> None:
    result = weft(folder, "describe", "pod", "test/web-v1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "It runs as test/web-v1 (spiffe://cluster.local/ns/test/sa/web-v1)." in text
    assert "test/client may send GET /api/, because of TrafficTarget test/api, HTTPRouteGroup api / read." in text
    assert "mTLS strict because of the mesh's setting" in text
    assert "Every other request is answered 403; plaintext is closed." in text


def test_a_service_is_described_with_its_split_and_what_is_left_out_of_it(folder: Path) -> None:
    result = weft(folder, "describe", "service", "web", "-n", "test")
    text = " ".join(result.stdout.split())
    assert "All requests go to, by TrafficSplit test/canary:" in text
    assert "web-v1 90 % 1 endpoint (1 by mutual TLS)" in text
    assert "quiet 0 % 1 endpoint (1 in plaintext) weight 0: it gets nothing" in text
    assert "web-v3 left out There is no Service test/web-v3" in text
    assert "[T6]" in text, "the Problem is there too"
    (route,) = view(folder, "describe", "service", "test/web")["ports"][0]["routes"]
    assert {each["service"]: each["percent"] for each in route["backends"]} == {"web-v1": 90, "web-v2": 10, "quiet": 0}


def test_a_service_without_a_usable_backend_is_said_to_answer_503(folder: Path) -> None:
    (folder / "more.yaml").write_text(world.split("none", "web-v2", {"missing": 1}))
    text = " ".join(weft(folder, "describe", "service", "test/web-v2").stdout.split())
    assert "All requests are answered 503: TrafficSplit test/none has no backend with port 80." in text


def test_a_pod_without_a_sidecar_is_said_to_have_no_protection(folder: Path) -> None:
    text = weft(folder, "describe", "pod", "test/quiet").stdout
    assert "no TrafficTarget is enforced" in text
    assert weft(folder, "authz", "test/quiet", "--from", "test/other").exit_code == 0


def test_an_annotation_of_a_namespace_is_named_as_the_reason(folder: Path) -> None:
    base = (folder / "base.yaml").read_text()
    marked = base.replace('"labels"', '"annotations": {"weft.dev/access": "permissive"},\n  "labels"', 1)
    (folder / "base.yaml").write_text(marked)
    shown = view(folder, "describe", "pod", "test/web-v1")
    why = {"value": "permissive", "because": "annotation weft.dev/access of Namespace test"}
    assert shown["modes"]["access"] == shown["ports"][0]["access"] == why


def test_what_a_pod_may_call_outside_the_mesh_is_said_where_that_is_refused(folder: Path) -> None:
    assert "outside the mesh" not in weft(folder, "describe", "pod", "test/client").stdout
    base = (folder / "base.yaml").read_text()
    marked = base.replace('"labels"', '"annotations": {"weft.dev/egress": "refused"},\n  "labels"', 1)
    (folder / "base.yaml").write_text(marked)
    spec = {
        "sources": [{"kind": "ServiceAccount", "name": "client"}],
        "hosts": ["api.example.com"],
        "ports": [{"number": 443, "protocol": "https"}],
    }
    policy = world.thing("weft.dev/v1alpha1", "EgressPolicy", "api", spec=spec)
    (folder / "egress.yaml").write_text(world.manifests(policy))
    text = " ".join(weft(folder, "describe", "pod", "test/client").stdout.split())
    assert "api.example.com on port 443 (https), because of EgressPolicy test/api." in text
    other = " ".join(weft(folder, "describe", "pod", "test/other").stdout.split())
    assert "Nothing: no EgressPolicy names its ServiceAccount." in other


def test_authz_lists_who_is_let_in_by_which_rule(folder: Path) -> None:
    (http,) = view(folder, "authz", "test/web-v1")["ports"]
    assert http["callers"] == [
        {"callers": ["test/client"], "may": "GET /api/", "target": "TrafficTarget test/api",
         "route": "HTTPRouteGroup api / read"}
    ]  # fmt: skip
    tcp = view(folder, "authz", "test/lines")["ports"]
    assert {port["port"] for port in tcp} == {9000, 9001}
    assert tcp[0]["callers"][0]["may"] == "every connection"
    assert "nobody" in weft(folder, "authz", "test/web-v2").stdout


@pytest.mark.parametrize(
    ("words", "allowed", "sentence"),
    [
        (("--path", "/api/x"), True, "TrafficTarget test/api lets it send this request."),
        (("--path", "/api/x", "--method", "PUT"), False, "TrafficTarget test/api lets it send GET /api/ only."),
        (("--path", "/api/%2e%2e/x"), False, "No rule for this caller is about this request."),
        (("--port", "9"), False, "Nothing declares port 9"),
    ],
)
def test_authz_answers_one_question_and_its_exit_code_says_the_same(
    folder: Path, words: tuple[str, ...], allowed: bool, sentence: str
) -> None:
    result = weft(folder, "authz", "test/web-v1", "--from", "test/client", *words)
    assert result.exit_code == (0 if allowed else 1)
    assert sentence in " ".join(result.stdout.split())


def test_authz_can_ask_for_the_modes_that_are_planned(folder: Path) -> None:
    words = ("authz", "test/web-v1", "--from", "plaintext", "--path", "/x")
    assert weft(folder, *words).exit_code == 1
    assert weft(folder, *words, "--access", "permissive", "--mtls", "permissive").exit_code == 0


def test_callers_of_other_meshes_are_asked_about_by_their_spiffe_id(folder: Path) -> None:
    caller = "spiffe://other.mesh/ns/test/sa/client"
    refused = weft(folder, "authz", "test/web-v1", "--from", caller, "--path", "/api/x", "--access", "permissive")
    assert refused.exit_code == 1
    assert "callers of this mesh only" in " ".join(refused.stdout.split())
    named = world.target("far", "web-v1", [world.account("client")], [world.group_ref("api")])
    named["metadata"]["annotations"] = {"weft.dev/federated-sources": caller}
    (folder / "far.yaml").write_text(world.manifests(named))
    (port,) = view(folder, "authz", "test/web-v1")["ports"]
    assert ["test/client", caller] in [row["callers"] for row in port["callers"]]
    assert weft(folder, "authz", "test/web-v1", "--from", caller, "--path", "/api/x").exit_code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("authz", "test/nobody"), "There is no pod test/nobody"),
        (("authz", "test/web"), "begins the names of several pods that differ"),
        (("authz", "test/web-v1", "--from", "bob"), "is not of the form NAMESPACE/SERVICEACCOUNT"),
        (("authz", "test/lines", "--from", "test/client"), "Say which port with --port; ports there: 9000, 9001."),
        (("authz", "test/web-v1", "--from", "test/client", "-H", "x"), "is no header"),
        (("authz", "test/web-v1", "--from", "test/client", "-H", "x-envoy-a: b"), "Sidecars set x-envoy-a themselves"),
        (("authz", "test/web-v1", "--from", "test/client", "--path", "/%2"), "it is not told here what comes of it"),
        (("describe", "service", "test/nothing"), "There is no Service test/nothing"),
        (("describe", "pod", "a/b/c"), "is not of the form NAMESPACE/NAME"),
    ],
)
def test_what_can_not_be_answered_is_said_in_a_sentence(folder: Path, words: tuple[str, ...], sentence: str) -> None:
    result = weft(folder, *words)
    assert result.exit_code in {1, 2}
    assert sentence in " ".join(result.stderr.split())
