"""The examples, run as their pages say, by the real command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.state import command_in_pod, pods, running
from running_mesh import WEFT

SHOP = Path(__file__).parents[2] / "examples" / "shop"
ASK_UNTIL_200 = ["python3", "-m", "weft_shop", "wait-for", "http://catalog/"]


def test_the_demo_proves_every_claim_in_under_a_minute_and_leaves_nothing() -> None:
    process = subprocess.Popen([*WEFT, "demo", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=150)
    report = json.loads(out)
    assert {key: claim["told"] for key, claim in report["claims"].items() if not claim["ok"]} == {}, err
    assert (report["ok"], report["failure"], process.returncode) == (True, "", 0)
    assert list(report["claims"]) == list("abcdefg")
    assert report["seconds"] < 60
    assert not running(f"demo-{process.pid}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_demo_that_is_stopped_takes_its_cluster_with_it(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*WEFT, "demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    name = f"demo-{process.pid}"
    wait_until(lambda: running(name) and bool(pods(name)), "the demo's cluster has pods")
    process.send_signal(number)
    assert process.wait(30) != 0
    wait_until(lambda: not running(name), "the demo's cluster has ended")


def test_the_shop_answers_through_two_sidecars_within_ten_seconds(tmp_path: Path) -> None:
    folder = shutil.copytree(SHOP, tmp_path / "shop")
    name = f"shop-{os.getpid()}"
    began = time.monotonic()
    with up(folder, name):
        asking = start_asking(name)
        out, err = asking.communicate(timeout=60)
        seconds = time.monotonic() - began
    assert asking.returncode == 0, err
    assert "200" in json.loads(out.splitlines()[-1])["statuses"]
    assert seconds < 10


@contextmanager
def up(folder: Path, name: str) -> Iterator[None]:
    """`weft up` while the context lasts."""
    with folder.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([*WEFT, "up", str(folder), "--name", name], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def start_asking(name: str) -> subprocess.Popen[str]:
    """Ask in the storefront's pod, as soon as it is ready, until the answer is 200."""
    wait_until(lambda: running(name) and storefront_is_ready(name), "the storefront is ready")
    command, environment = command_in_pod(name, "shop/storefront", ASK_UNTIL_200)
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def storefront_is_ready(name: str) -> bool:
    """Whether the storefront's pod is."""
    return any(pod["ready"] for key, pod in pods(name).items() if key.startswith("shop/storefront"))


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
