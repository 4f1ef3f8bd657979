"""Files and folders, read once and followed live."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube.objects import Service
from kube.problem import Origin, Problem, Ref, Severity
from smi.resources import Resources
from sources.folder import FolderSource
from sources.manifest import MAX_BYTES
from sources.store import Store

STILL = 1.0
"""How far back files are dated that nobody is writing any more."""


def service(name: str, port: int = 80) -> str:
    spec = f"spec:\n  ports:\n  - port: {port}\n"
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n{spec}"


def ref(name: str) -> Ref:
    return Ref("Service", "default", name)


def port(resources: Resources, name: str) -> int:
    found = resources.objects[ref(name)]
    assert isinstance(found, Service)
    return found.spec.ports[0].port


def names(resources: Resources) -> list[str]:
    return [item.name for item in resources.of(Service)]


def test_files_folders_and_what_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a.yaml", "deep/b.yml", "deep/er/c.json", "x.txt", ".d.yaml", ".hidden/e.yaml"):
        (tmp_path / name).write_text(service(Path(name).name.strip(".").partition(".")[0]))
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    assert names(FolderSource([tmp_path]).read()) == ["a", "b", "c"]
    assert names(FolderSource([tmp_path / "x.txt"]).read()) == ["x"]
    assert FolderSource([tmp_path, tmp_path / "a.yaml"]).read().problems == ()


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = FolderSource([tmp_path / "nope"]).read().problems
    assert problem.severity is Severity.ERROR
    assert "no such file" in problem.message


def test_order_is_the_same_whatever_the_folder_says(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / name).write_text(service("web", 1 if name == "a.yaml" else 2))
    assert port(FolderSource([tmp_path]).read(), "web") == 1
    assert port(FolderSource([tmp_path / "b.yaml", tmp_path]).read(), "web") == 2


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "good.yaml").write_text(service("web"))
    found = FolderSource([tmp_path]).read()
    assert names(found) == ["web"]
    assert "larger" in found.problems[0].message


@pytest.mark.parametrize("broken", ["a: [", "", "\n\n", "- x\n"])
def test_a_file_that_breaks_keeps_its_last_good_state_with_a_problem(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web"))
    source = FolderSource([tmp_path])
    source.read()
    file.write_text(broken)
    found = source.read()
    assert names(found) == ["web"]
    assert "stays in force" in found.problems[0].message
    file.write_text(service("web", 81))
    assert port(source.read(), "web") == 81
    assert source.read().problems == ()


def test_a_file_that_never_could_be_read_contributes_only_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    found = FolderSource([tmp_path]).read()
    assert found.objects == {}
    assert len(found.problems) == 1


def test_a_broken_document_leaves_its_neighbours_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{service('one')}---\n{service('two')}---\n{service('three')}")
    source = FolderSource([tmp_path])
    source.read()
    file.write_text(f"{service('one', 81)}---\napiVersion: [\n---\n{service('three', 83)}")
    found = source.read()
    assert {name: port(found, name) for name in names(found)} == {"one": 81, "two": 80, "three": 83}


def test_a_file_of_comments_says_nothing_on_purpose(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web"))
    source = FolderSource([tmp_path])
    source.read()
    file.write_text("# all gone\n")
    assert source.read() == Resources()


def test_a_deleted_file_takes_its_objects_along(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("web"))
    source = FolderSource([tmp_path])
    source.read()
    (tmp_path / "a.yaml").unlink()
    assert source.read() == Resources()


def test_unchanged_files_are_not_decoded_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(service(name))
        os.utime(tmp_path / f"{name}.yaml", (time.time() - STILL,) * 2)
    source = FolderSource([tmp_path])
    before = source.read()
    (tmp_path / "b.yaml").write_text(service("b", 81))
    after = source.read()
    assert after.objects[ref("a")] is before.objects[ref("a")]
    assert port(after, "b") == 81


def test_the_overlay_stands_in_for_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "over").mkdir()
    (tmp_path / "in" / "a.yaml").write_text(service("web", 80))
    over = tmp_path / "over" / "service.default.web.json"
    over.write_text(
        '{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{"ports":[{"port":9}]}}'
    )
    source = FolderSource([tmp_path / "in"], tmp_path / "over")
    assert port(source.read(), "web") == 9
    assert source.read().problems == ()
    over.unlink()
    assert port(source.read(), "web") == 80


def test_an_overlay_that_is_not_there_yet_is_no_problem(tmp_path: Path) -> None:
    assert FolderSource([tmp_path], tmp_path / "later").read() == Resources()


def test_a_problem_found_later_gets_the_line_of_its_field(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"# x\n{service('web')}")
    source = FolderSource([tmp_path])
    source.read()
    later = Problem(ref("web"), "spec.ports[0].port", "It is odd.", "F6")
    assert source.placed(later).origin == Origin(str(tmp_path / "a.yaml"), 8)
    elsewhere = Problem(ref("other"), "spec", "It is odd.", "F6")
    assert source.placed(elsewhere) == elsewhere


@asynccontextmanager
async def following(source: FolderSource) -> AsyncIterator[Store]:
    store = Store()
    task = asyncio.create_task(source.run(store))
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(store: Store, wanted: Callable[[Resources], bool]) -> float:
    """Wait until the store holds what is wanted; the seconds it took."""
    started = time.perf_counter()
    async with asyncio.timeout(5):
        while not wanted(store.current):  # noqa: ASYNC110  # the store's own waiting has tests of its own
            await asyncio.sleep(0.001)
    return time.perf_counter() - started


async def test_a_change_arrives_in_tens_of_milliseconds(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web", 1))
    async with following(FolderSource([tmp_path])) as store:
        await until(store, lambda now: ref("web") in now.objects)
        await asyncio.sleep(0.3)
        took = []
        for number in range(2, 8):
            file.write_text(service("web", number))
            took.append(await until(store, lambda now, number=number: port(now, "web") == number))  # type: ignore[misc]
            await asyncio.sleep(0.1)
    assert sorted(took)[len(took) // 2] < 0.1, took


async def test_nothing_is_lost_while_a_file_is_written_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    everything = "---\n".join(service(name) for name in ("one", "two", "three"))
    file.write_text(everything)
    states: list[list[str]] = []
    async with following(FolderSource([tmp_path])) as store:
        await until(store, lambda now: len(now.objects) == 3)
        changed = everything.replace("80", "81")
        for _ in range(5):
            with file.open("w") as handle:
                for start in range(0, len(changed), 40):
                    handle.write(changed[start : start + 40])
                    handle.flush()
                    await asyncio.sleep(0.004)
                    states.append(names(store.current))
        await until(store, lambda now: port(now, "three") == 81)
    assert all(state == ["one", "three", "two"] for state in states)


async def test_a_half_written_file_gets_a_problem_once_nobody_writes_any_more(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(service("web"))
    async with following(FolderSource([tmp_path])) as store:
        await until(store, lambda now: ref("web") in now.objects)
        file.write_text("apiVersion: [")
        await until(store, lambda now: bool(now.problems))
        assert names(store.current) == ["web"]
        file.write_text(service("web", 81))
        await until(store, lambda now: not now.problems and port(now, "web") == 81)


async def test_a_file_that_is_replaced_or_deleted_is_followed(tmp_path: Path) -> None:
    file, new = tmp_path / "a.yaml", tmp_path / "new"
    file.write_text(service("web"))
    async with following(FolderSource([file])) as store:
        await until(store, lambda now: ref("web") in now.objects)
        new.write_text(service("web", 81))
        new.rename(file)
        await until(store, lambda now: port(now, "web") == 81)
        file.unlink()
        await until(store, lambda now: not now.objects)
        file.write_text(service("web", 82))
        await until(store, lambda now: ref("web") in now.objects)


async def test_a_path_that_appears_later_is_read_then(tmp_path: Path) -> None:
    folder = tmp_path / "later" / "still"
    async with following(FolderSource([folder])) as store:
        await until(store, lambda now: bool(now.problems))
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(service("web"))
        await until(store, lambda now: ref("web") in now.objects and not now.problems)
        (folder / "b.yaml").write_text(service("api"))
        await until(store, lambda now: ref("api") in now.objects)


async def test_a_folder_swapped_behind_a_link_is_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "a.yaml").write_text(service("web", number))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with following(FolderSource([tmp_path])) as store:
        await until(store, lambda now: ref("web") in now.objects)
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        await until(store, lambda now: port(now, "web") == 2)


async def test_an_end_leaves_nothing_behind(tmp_path: Path) -> None:
    async with following(FolderSource([tmp_path])):
        await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == 1
