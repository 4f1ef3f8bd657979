"""Regular expressions: what `check` passes is what Envoy takes, and it never reaches outside its group."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import re2

from proxy.bootstrap import runtime
from smi.regex import PROGRAM_LIMIT, check, header_pattern, path_pattern, program_size


@pytest.mark.parametrize(
    ("regex", "path", "matches"),
    [
        ("/api", "/apis", True),
        ("/api", "/v1/api", False),
        ("^/api$", "/api", True),
        ("^/api$", "/apis", False),
        ("", "/anything", True),
        ("/a|/b", "/b/c", True),
        ("/a|/b", "/c/b", False),
        ("(?i)/API", "/api", True),
        (r"\Q/a.b\E", "/axb", False),
    ],
)
def test_a9_a_path_regex_is_anchored_at_its_start_only(regex: str, path: str, matches: bool) -> None:
    assert check(regex) is None
    assert bool(re2.fullmatch(path_pattern(regex), path)) is matches


@pytest.mark.parametrize(
    ("regex", "value", "matches"),
    [
        ("Firefox", "Mozilla Firefox 9", True),
        ("^Firefox", "Mozilla Firefox", False),
        ("a|b$", "xxb", True),
        ("^(.*?;)?(type=insider)(;.*)?$", "x=1;type=insider;y=2", True),
        ("^(.*?;)?(type=insider)(;.*)?$", "x=1;type=insiders", False),
    ],
)
def test_a10_a_header_regex_is_searched_anywhere(regex: str, value: str, matches: bool) -> None:
    assert check(regex, header_pattern) is None
    assert bool(re2.fullmatch(header_pattern(regex), value)) is matches


@pytest.mark.parametrize(
    "regex",
    ["(", "a)", "a)|(b", "[a", r"\Qabc", r"\Qabc)(?:", r"a|\Q", "*", "(?=a)", r"(a)\1", "a{1001}", "é", "[à-ü]",
     "a\x00", "a\nb", "\ud800", "a" * 1000, "(((a{100}){100}){100})", r"\pN{900}", r"\x{100}"],
)  # fmt: skip
def test_a9_a_regex_that_envoy_or_re2_refuses_is_refused(regex: str) -> None:
    fault = check(regex)
    assert fault
    assert "\n" not in fault


def test_a9_a_star_alone_which_people_mean_as_everything_is_told_how_to_say_so() -> None:
    assert "write .*" in (check("*") or "")


def test_f6_the_limit_is_on_the_wrapped_form() -> None:
    longest = "a" * (PROGRAM_LIMIT - 6)
    assert program_size(path_pattern(longest)) == PROGRAM_LIMIT
    assert check(longest) is None
    assert "too large" in (check(longest + "a") or "")
    assert "too large" in (check(longest, header_pattern) or "")


ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")


@pytest.mark.skipif(ENVOY is None, reason="no envoy binary here")
@pytest.mark.parametrize("pattern", [path_pattern, header_pattern])
def test_f6_envoy_takes_what_passes_and_refuses_what_is_larger(pattern: object, tmp_path: Path) -> None:
    wrap = path_pattern if pattern is path_pattern else header_pattern
    longest = max(
        ("a" * length for length in range(PROGRAM_LIMIT - 20, PROGRAM_LIMIT) if check("a" * length, wrap) is None),
        key=len,
    )
    for unit in ("a", "[^a]", r"\b", "(?i)k", r"\d", "x*y"):
        fitting = max((unit * count for count in range(1, PROGRAM_LIMIT) if check(unit * count, wrap) is None), key=len)
        assert _envoy_takes(wrap(fitting), tmp_path), fitting
    assert not _envoy_takes(wrap(longest + "a"), tmp_path)


def _envoy_takes(regex: str, folder: Path) -> bool:
    """Whether Envoy accepts a route with this regex."""
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    route = {"match": {"safe_regex": {"regex": regex}}, "direct_response": {"status": 200}}
    http = {
        "@type": manager,
        "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    chain = {"filters": [{"name": "http", "typed_config": http}]}
    listener = {"name": "l", "address": address, "bind_to_port": False, "filter_chains": [chain]}
    config = folder / "envoy.json"
    config.write_text(json.dumps({"layered_runtime": runtime(), "static_resources": {"listeners": [listener]}}))
    command = [str(ENVOY), "--mode", "validate", "--disable-hot-restart", "-c", str(config)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
