"""What leaves the mesh where egress is refused: what EgressPolicies grant, and nothing else (H6, docs/egress.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from egress_world import EgressMesh, base, policy
from local.state import pods
from openssl import self_signed
from webhook.sidecar import PROXY
from world import Manifest, manifests

FORBIDDEN = [403, "Refused by the mesh: no EgressPolicy lets this workload call it."]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EgressMesh]:
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "base.yaml").write_text(base(self_signed("outside")))
    with EgressMesh(folder, f"egress-{os.getpid()}") as mesh:
        yield mesh


@pytest.fixture
def mesh(running: EgressMesh) -> Iterator[EgressMesh]:
    """The mesh without any policy; what a test adds is gone when the next one starts."""
    yield running
    names = {path.name for path in Path(running.folder).glob("*.yaml")} - {"base.yaml", "sentinel.yaml"}
    running.remove(*sorted(names))


@pytest.fixture
def api(running: EgressMesh) -> str:
    return running.pod_address("api")


@pytest.fixture
def files(running: EgressMesh) -> str:
    return running.pod_address("files")


def test_h6_without_a_policy_nothing_leaves_the_mesh(mesh: EgressMesh, api: str) -> None:
    attempts = ["http", api, 8080, "api.example:8080"], ["tls", api, 8443, "api.example"], ["tcp", api, 9000]
    assert mesh.ask("buyer", *attempts) == ["closed"] * 3


def test_h6_requests_pass_by_name_and_all_others_are_answered_403(mesh: EgressMesh, api: str, files: str) -> None:
    mesh.write("by-name.yaml", policy("by-name", (8080, "http"), hosts=["api.example"]))
    assert mesh.ask(
        "buyer",
        ["http", "api.example", 8080, "api.example:8080"],
        ["http", api, 8080, "API.example:8080"],
        ["http", "files.example", 8080, "files.example:8080"],
        ["http", api, 8080, api],
        ["http", api, 8080, "api.example:8081"],
        ["http", api, 8081, "api.example:8081"],
        ["tls", api, 8080, "api.example"],
        ["tcp", files, 9000],
    ) == [[200, "api"], [200, "api"], FORBIDDEN, FORBIDDEN, FORBIDDEN, "closed", "closed", "closed"]


def test_h6_a_forged_host_leads_to_the_host_it_names(mesh: EgressMesh, api: str, files: str) -> None:
    mesh.write("by-name.yaml", policy("by-name", (8080, "http"), (8443, "tls"), hosts=["api.example"]))
    assert mesh.ask(
        "buyer", ["http", files, 8080, "api.example:8080"], ["tls", files, 8443, "api.example"]
    ) == [[200, "api"], ["api", "api.example"]]  # fmt: skip
    assert mesh.ask("buyer", ["tls", api, 8443, "files.example"]) == ["closed"]


def test_h6_tls_passes_by_server_name_and_nothing_is_decrypted(mesh: EgressMesh, api: str, files: str) -> None:
    mesh.write("tls.yaml", policy("tls", (8443, "https"), hosts=["files.example"]))
    assert mesh.ask(
        "buyer",
        ["tls", "files.example", 8443, "files.example"],
        ["tls", api, 8443, "api.example"],
        ["tls", files, 8443, ""],
        ["http", files, 8443, "files.example:8443"],
    ) == [["files", "files.example"], "closed", "closed", FORBIDDEN]


def test_h6_a_wildcard_stands_for_all_names_below(mesh: EgressMesh, api: str) -> None:
    mesh.write("below.yaml", policy("below", (8080, "http"), (8443, "tls"), hosts=["*.example"]))
    assert mesh.ask(
        "buyer",
        ["http", "files.example", 8080, "files.example:8080"],
        ["tls", "files.example", 8443, "files.example"],
        ["http", api, 8080, "example:8080"],
        ["tls", api, 8443, "example"],
    ) == [[200, "files"], ["files", "files.example"], FORBIDDEN, "closed"]


def test_h6_networks_pass_by_the_address_the_app_chose(mesh: EgressMesh, api: str, files: str) -> None:
    mesh.write("tcp.yaml", policy("tcp", (9000, "tcp"), (8081, "tcp"), (8443, "tls"), cidrs=[f"{api}/32"]))
    assert mesh.ask(
        "buyer",
        ["tcp", api, 9000],
        ["tcp", files, 9000],
        ["http", api, 8081, "whatever"],
        ["tls", api, 8443, "whatever"],
        ["tls", files, 8443, "api.example"],
    ) == ["api", "closed", [200, "api"], ["api", "whatever"], "closed"]


def test_h6_beside_networks_hosts_must_hold_too(mesh: EgressMesh, api: str, files: str) -> None:
    pinned = policy("pinned", (8080, "http"), (8443, "tls"), hosts=["pinned.test"], cidrs=[f"{api}/32"])
    mesh.write("pinned.yaml", pinned)
    assert mesh.ask(
        "buyer",
        ["http", api, 8080, "pinned.test:8080"],
        ["http", files, 8080, "pinned.test:8080"],
        ["http", api, 8080, "api.example:8080"],
        ["tls", api, 8443, "pinned.test"],
        ["tls", files, 8443, "pinned.test"],
        ["tls", api, 8443, "api.example"],
    ) == [
        [200, "api"],
        [403, "RBAC: access denied"],
        [403, "RBAC: access denied"],
        ["api", "pinned.test"],
        *["closed"] * 2,
    ]


def test_h6_matches_narrow_requests_down_however_their_path_is_spelt(mesh: EgressMesh) -> None:
    spec: Manifest = {"matches": [{"name": "read", "methods": ["GET"], "pathRegex": "/public/"}]}
    metadata = {"name": "reads", "namespace": "closed"}
    group = {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": metadata, "spec": spec}
    mesh.write_unsettled("group.yaml", manifests(group))
    reads = [{"kind": "HTTPRouteGroup", "name": "reads"}]
    mesh.write("reads.yaml", policy("reads", (8080, "http"), hosts=["api.example"], matches=reads))
    paths = ("/public/x", "/private", "/public/../private", "/public/%2e%2e/private", "/public/..%2fprivate")
    attempts = [["http", "api.example", 8080, "api.example:8080", path] for path in paths]
    attempts.append(["http", "api.example", 8080, "api.example:8080", "/public/x", "POST"])
    assert mesh.ask("buyer", *attempts) == [[200, "api"], *[FORBIDDEN] * 5]


def test_h6_a_policy_is_about_its_sources_only(mesh: EgressMesh, api: str) -> None:
    mesh.write_unsettled("tcp.yaml", policy("tcp", (9000, "tcp"), cidrs=[f"{api}/32"]))
    mesh.write("names.yaml", policy("names", (8080, "http"), hosts=["api.example"], sources=["other"]))
    attempts = ["tcp", api, 9000], ["http", api, 8080, "api.example:8080"]
    assert mesh.ask("buyer", *attempts) == ["api", "closed"]
    assert mesh.ask("other", *attempts) == ["closed", [200, "api"]]


def test_h6_a_policy_taken_back_ends_at_once_and_disturbs_no_other(mesh: EgressMesh, api: str) -> None:
    """A13: the kept connection of the one is answered 403, that of the other, on the same port, goes on."""
    mesh.write_unsettled("files.yaml", policy("files", (8080, "http"), hosts=["files.example"]))
    mesh.write_unsettled("tcp.yaml", policy("tcp", (9000, "tcp"), cidrs=[f"{api}/32"]))
    mesh.write("api.yaml", policy("api", (8080, "http"), (8081, "http"), hosts=["api.example"]))
    with ExitStack() as stack:
        taken, alone, kept, lines = (
            stack.enter_context(mesh.watch("buyer", *words.split()))
            for words in (
                f"http {api} 8080 api.example:8080",
                f"http {api} 8081 api.example:8081",
                f"http {api} 8080 files.example:8080",
                f"tcp {api} 9000 -",
            )
        )
        assert [next(taken), next(alone), next(kept), next(lines)] == [
            [200, "api"],
            [200, "api"],
            [200, "files"],
            "api",
        ]
        assert next(lines) == "again"
        mesh.remove("api.yaml")
        assert [next(taken), next(alone)] == [FORBIDDEN, FORBIDDEN]
        again = ["http", api, 8080, "api.example:8080"], ["http", api, 8081, "api.example:8081"]
        assert mesh.ask("buyer", *again) == [FORBIDDEN, "closed"]
        assert (kept.ended(), lines.ended()) == ([], []), "every answer was as before"


def test_h6_what_is_refused_is_logged_and_counted_with_the_reason(mesh: EgressMesh, api: str) -> None:
    """A12: the request that was answered 403 and the connection that was closed."""
    mesh.write("by-name.yaml", policy("by-name", (8080, "http"), (8443, "tls"), hosts=["api.example"]))
    since = datetime.now(UTC).isoformat()
    attempts = ["http", api, 8080, "files.example:8080", "/refused-here"], ["tls", api, 8443, "refused.example"]
    assert mesh.ask("buyer", *attempts) == [FORBIDDEN, "closed"]
    mesh.wait_until(lambda: len(refusals(mesh, api, since)) == 2, "both refusals are logged")
    assert {line["reason"] for line in refusals(mesh, api, since)} == {"no EgressPolicy lets this workload call it"}
    metrics = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:15000/stats/prometheus?usedonly').read().decode())"
    mesh.wait_until(lambda: counted(mesh.run("closed/buyer", "python3", "-c", metrics).stdout), "the 403 is counted")


def refusals(mesh: EgressMesh, address: str, since: str) -> list[dict[str, Any]]:
    """What the buyer's sidecar logged of this test's refusals."""
    (described,) = [found for name, found in pods(mesh.name).items() if name.startswith("closed/buyer-")]
    lines = Path(described["containers"][PROXY]["log"]).read_text().splitlines()
    found = [json.loads(line) for line in lines if '"event":"refused"' in line]
    places = {f"{address}:8080": "/refused-here", f"{address}:8443": None}
    found = [line for line in found if line["time"] >= since]
    return [line for line in found if line.get("path") == places.get(line["destination_address"], "elsewhere")]


def counted(metrics: str) -> bool:
    lines = [line for line in metrics.splitlines() if 'service="outside"' in line and 'code="403"' in line]
    return any(line.startswith("envoy_weft_outbound_ms_count") for line in lines)


def test_h6_a_policy_with_a_mistake_grants_nothing_and_names_the_field(mesh: EgressMesh, api: str) -> None:
    mesh.write_unsettled("network.yaml", policy("network", (9000, "tcp"), cidrs=[f"{api}/32", f"{api}/33"]))
    mesh.write("wildcard.yaml", policy("wildcard", (8080, "http"), hosts=["api.example", "a*.example"]))
    assert mesh.ask("buyer", ["tcp", api, 9000], ["http", api, 8080, "api.example:8080"]) == ["closed"] * 2
    assert {(found["name"], found["field"]) for found in mesh.problems() if found["kind"] == "EgressPolicy"} == {
        ("network", "spec.cidrs[1]"), ("wildcard", "spec.hosts[1]"),
    }  # fmt: skip
