"""What Envoy is sent for manifests: `input.yaml` (beside `shop.yaml`) in, `want.yaml` out, and Envoy accepts all of it.

An input says in its first lines which of the results its case is about, and only those are recorded:

    # shown: NAMESPACE/POD TYPE                    the names of the pod's resources of this type
    # shown: NAMESPACE/POD TYPE NAME [PATH]        a resource, or the part of it at a path

A path is keys and indices with `/` between them, or `*KEY` for the outermost place where this key is. How routes retry
is recorded in `h01_any_host_header` alone, and what they count in `m03_what_is_counted`, where the path is `whole`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fake_authority import FakeAuthority
from manifest_world import Understood, understood
from static_bootstrap import Held, refused_by_envoy
from xds.readable import readable
from xds.resource import TYPES

FOLDER: Final = Path(__file__).parent
CASES: Final = sorted(path.parent.name for path in FOLDER.glob("*/input.yaml"))
SHOWN: Final = "# shown: "
TYPE_URLS: Final = {type_url.rpartition(".")[2]: type_url for type_url in TYPES}
ELSEWHERE: Final = frozenset({"retry_policy", "timeout", "access_log_options"})
COUNTS: Final = "envoy.access_loggers.stats"


def translated(case: str, bundle: str = "the trust bundle") -> Understood:
    return understood([FOLDER / "shop.yaml", FOLDER / case / "input.yaml"], bundle)


def shown(case: str) -> dict[str, Any]:
    made = translated(case)
    lines = (FOLDER / case / "input.yaml").read_text().splitlines()
    wanted = [line.removeprefix(SHOWN) for line in lines if line.startswith(SHOWN)]
    found = {line: _part(made, *line.split()) for line in wanted}
    problems = [str(problem).removeprefix(f"{FOLDER / case}/") for problem in made.problems]
    return found | ({"problems": problems} if problems else {})


def _part(made: Understood, proxy: str, kind: str, name: str = "", path: str = "") -> Any:
    resources = made.snapshot(proxy).resources[TYPE_URLS[kind]]
    if not name:
        return sorted(resources)
    value = json.loads(json.dumps(readable(resources[name]), sort_keys=True))
    if path == "whole":
        return value
    if path.startswith("*"):
        return _outermost(value, path.removeprefix("*"))
    for key in path.split("/") if path else []:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return _without_common(value)


def _outermost(value: Any, key: str) -> Any:
    """What stands under a key, in the first of the places least deep."""
    layer = [value]
    while layer:
        for item in layer:
            if isinstance(item, dict) and key in item:
                return item[key]
        layer = [inner for item in layer for inner in _inside(item)]
    raise KeyError(key)


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _without_common(value: Any) -> Any:
    """Without what stands everywhere and is recorded elsewhere."""
    if isinstance(value, list):
        return [_without_common(item) for item in value if not _counts(item)]
    if isinstance(value, dict):
        kept = {key: _without_common(item) for key, item in value.items() if key not in ELSEWHERE}
        return {key: item for key, item in kept.items() if item != [] or value[key] == []}
    return value


def _counts(item: Any) -> bool:
    return isinstance(item, dict) and item.get("name") == COUNTS


@pytest.mark.parametrize("case", CASES)
def test_is_sent_as_wanted(case: str, update_golden: bool) -> None:
    want = FOLDER / case / "want.yaml"
    made = yaml.safe_dump(shown(case), sort_keys=False, width=120, allow_unicode=True)
    if update_golden:
        want.write_text(made)
    assert made == want.read_text()


def test_every_case_shows_something() -> None:
    assert CASES
    assert [case for case in CASES if not shown(case)] == []


def test_what_all_cases_stand_on_is_without_problems() -> None:
    assert understood([FOLDER / "shop.yaml"]).problems == ()


def test_f6_envoy_accepts_every_role_of_every_case(tmp_path: Path) -> None:
    authority = FakeAuthority()
    secrets = cache(authority.secrets)
    every = [
        Held(f"{role} in {case}", snapshot, secrets(snapshot.identity))
        for case in CASES
        for role, snapshot in translated(case, authority.bundle).world.roles.items()
    ]
    assert refused_by_envoy(every, tmp_path) == ""
