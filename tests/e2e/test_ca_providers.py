"""An intermediate that was handed over signs for real sidecars, and one under another root follows it under load."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import world
from company_ca import Signer, company_root
from echo_mesh import EchoMesh

WEB = "http://web-v1.test/"
LOAD_SECONDS = 24


@dataclass
class Company:
    """Where its intermediate is handed over."""

    folder: Path
    mesh: EchoMesh | None = None

    def hand_over(self, signer: Signer) -> None:
        for name, content in signer.handed_over().items():
            draft = self.folder / f"{name}.new"
            draft.write_bytes(content)
            draft.replace(self.folder / name)

    def told(self) -> dict[str, Any]:
        """What `weft ca status` shows of the provider."""
        assert self.mesh is not None
        provider: dict[str, Any] = self.mesh.get("/ca")["provider"]
        return provider

    def states(self) -> dict[str, str]:
        """Root → how far it has come."""
        return {root["subject"].removeprefix("CN="): root["state"] for root in self.told()["roots"]}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A mesh whose leaves live 10 seconds and are signed by a company's intermediate."""
    made = Company(tmp_path_factory.mktemp("issuer"))
    now = datetime.now(UTC)
    made.hand_over(company_root("first root", now).below("first", now))
    (made.folder / "provider.yaml").write_text(f"provider: handed-over\nfolder: {made.folder}\n")
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "base.yaml").write_text(world.base())
    (folder / "http.yaml").write_text(world.allow_http("web-v1", "client"))
    (folder / "tcp.yaml").write_text(world.allow_tcp("lines", "client"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEFT_LEAF_LIFETIME", "10s")
        environment.setenv("WEFT_CA_PROVIDER", str(made.folder / "provider.yaml"))
        with EchoMesh(folder, f"providers-{os.getpid()}") as mesh:
            made.mesh = mesh
            yield made


def test_one_root_follows_another_without_one_failed_request_or_handshake(company: Company) -> None:
    mesh = company.mesh
    assert mesh is not None
    mesh.wait_until(lambda: mesh.status("client", WEB) == 200, "the mesh is up")
    assert (company.told()["name"], company.told()["trouble"]) == ("handed-over", "")
    mesh.wait_until(lambda: company.states().get("first root") == "trusted", "all sidecars hold the company's root")
    knocking = mesh.start_echo("client", "knock", "lines.test", "9000", str(LOAD_SECONDS))
    asking = mesh.start_echo("client", "load", WEB, str(LOAD_SECONDS))
    now = datetime.now(UTC)
    company.hand_over(company_root("second root", now).below("second", now))
    mesh.wait_until(lambda: "second root" in company.states(), "the new root is in the bundle")
    mesh.wait_until(
        lambda: company.states() == {"second root": "trusted"}, "the old root has left the bundle", deadline=60
    )
    assert knocking.poll() is None, "the load outlasts it all"
    knocked, asked = (json.loads(each.communicate(timeout=LOAD_SECONDS + 30)[0]) for each in (knocking, asking))
    assert knocked["errors"] == []
    assert knocked["lines"] > 100, "each of them was a handshake of its own"
    assert (asked["errors"], asked["connections"]) == ([], 1)


def test_what_is_no_issuer_is_told_and_the_mesh_goes_on(company: Company) -> None:
    mesh = company.mesh
    assert mesh is not None
    (company.folder / "ca-cert.pem").write_text("nonsense")
    mesh.wait_until(lambda: "ca-cert.pem does not hold certificates" in company.told()["trouble"], "it is told")
    signed = company.told()["signed"]
    mesh.wait_until(lambda: company.told()["signed"] > signed, "leaves are renewed meanwhile")
    assert mesh.status("client", WEB) == 200
