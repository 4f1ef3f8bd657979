"""Reading manifests as raw documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.manifests import Manifests, read

POD = "kind: Pod\nmetadata: {name: p}\nspec: {x: null, containers: []}\n"


def test_every_document_of_every_file_below_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yml").write_text(POD + "---\n" + POD.replace("{name: p}", "{name: q, namespace: z}"))
    (tmp_path / "list.json").write_text('{"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "r"}}]}')
    (tmp_path / ".hidden.yaml").write_text(POD)
    (tmp_path / "notes.txt").write_text(POD)
    found = read([tmp_path], Manifests()).of("Pod")
    assert [(document.namespace, document.name) for document in found] == [
        ("default", "p"),
        ("default", "r"),
        ("z", "q"),
    ]
    assert found[0].raw["spec"] == {"containers": []}
    assert found[0].folder == tmp_path / "deep"


def test_a_half_written_file_keeps_what_it_had(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(POD)
    before = read([tmp_path], Manifests())
    file.write_text(POD + "---\nkind: [")
    assert read([tmp_path], before) == before
    file.unlink()
    assert read([tmp_path], before).of("Pod") == []


def test_what_is_no_object_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("[1, 2]\n---\nkind: Pod\n---\nkind: Pod\nmetadata: [x]\n---\n" + POD)
    assert [document.name for document in read([tmp_path], Manifests()).of("Pod")] == ["p"]


@pytest.mark.parametrize("names", ["name: ../x", 'name: "a b"', "name: 1", "name: p, namespace: ../../x"])
def test_an_object_whose_name_is_none_is_left_out(tmp_path: Path, names: str) -> None:
    """Its name would become that of a file; the source reports it."""
    (tmp_path / "a.yaml").write_text(POD.replace("name: p", names) + "---\n" + POD)
    assert [document.name for document in read([tmp_path], Manifests()).of("Pod")] == ["p"]


def test_services_that_cannot_be_read_are_left_to_the_source_to_report(tmp_path: Path) -> None:
    good = "kind: Service\nmetadata: {name: good}\nspec: {ports: [{port: 80}]}\n"
    bad = "kind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: eighty}]}\n"
    (tmp_path / "a.yaml").write_text(good + "---\n" + bad)
    assert [service.name for service in read([tmp_path], Manifests()).services()] == ["good"]
