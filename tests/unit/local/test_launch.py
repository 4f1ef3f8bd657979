"""How a container starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.environment import Missing
from local.launch import Mount, becoming, mount_script, user
from local.podspec import APP_UID, Capabilities, Container, PodSpec, SecurityContext


def container(uid: int | None = None, **capabilities: tuple[str, ...]) -> Container:
    context = SecurityContext(run_as_user=uid, capabilities=Capabilities(**capabilities))
    return Container("app", security_context=context)


def test_a_container_that_does_not_say_runs_as_nobody_and_keeps_no_capability() -> None:
    person = user(PodSpec(containers=()), container(), many_users=True)
    assert (person.uid, person.gid, person.capabilities) == (APP_UID, APP_UID, ())
    words = becoming(person, many_users=True)
    assert f"--reuid={APP_UID}" in words
    assert "--bounding-set=-all" in words
    assert "--no-new-privs" in words


def test_the_containers_user_goes_before_the_pods() -> None:
    spec = PodSpec(containers=(), security_context=SecurityContext(run_as_user=7))
    assert user(spec, container(), many_users=True).uid == 7
    assert user(spec, container(1337), many_users=True).uid == 1337


def test_root_keeps_what_it_asks_for_and_nothing_it_drops() -> None:
    asked = user(PodSpec(containers=()), container(0, drop=("ALL",), add=("NET_ADMIN",)), many_users=True)
    assert asked.capabilities == ("NET_ADMIN",)
    assert "SYS_ADMIN" not in user(PodSpec(containers=()), container(0), many_users=True).capabilities
    assert "--bounding-set=-all,+net_admin" in becoming(asked, many_users=True)


def test_with_one_user_capabilities_tell_the_proxy_from_the_app() -> None:
    app = becoming(user(PodSpec(containers=()), container(), many_users=False), many_users=False)
    proxy = becoming(
        user(PodSpec(containers=()), container(1337, add=("NET_ADMIN",)), many_users=False), many_users=False
    )
    assert not any(word.startswith("--reuid") for word in (*app, *proxy))
    assert "--bounding-set=-all" in app
    assert "--bounding-set=-all,+net_admin" in proxy


def test_what_is_mounted_below_run_is_prepared_before_run_is_replaced(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    mounts = [Mount(tmp_path, "/var/run/secrets/x"), Mount(tmp_path, "/run/secrets")]
    script = mount_script(scratch, mounts, "/x y", Path("/run/user/7/weft-7"))
    lines = script.splitlines()
    outer = lines.index(f"mount --rbind {tmp_path} {scratch}/secrets")
    inner = lines.index(f"mount --rbind {tmp_path} {scratch}/secrets/x")
    assert outer < inner < lines.index("mount --no-canonicalize --rbind . /run")
    assert "cd '/x y' 2>/dev/null || cd /" in lines


def test_a_new_folder_is_made_in_a_layer_and_never_on_the_machine(tmp_path: Path) -> None:
    script = mount_script(tmp_path / "scratch", [Mount(tmp_path, "/etc/weft-test/deep")], "/", tmp_path)
    assert script.index("mount -t overlay") < script.index("mkdir -p /etc/weft-test/deep")
    assert "lowerdir=/etc," in script


def test_a_new_folder_in_the_root_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="would be a new folder in /"):
        mount_script(tmp_path, [Mount(tmp_path, "/weft-test-absent")], "/", tmp_path)


def test_the_folder_of_the_keys_is_shown_empty_once_nothing_in_it_is_needed_any_more(tmp_path: Path) -> None:
    state = tmp_path / "weft-0"
    lines = mount_script(state / "scratch", [Mount(state / "volume", "/run/volume")], "/", state).splitlines()
    empty = next(number for number, line in enumerate(lines) if " mount -n -t tmpfs" in line and "ro," in line)
    assert lines[empty].endswith(f" {state}")
    assert all(str(state) not in line for line in lines[empty + 1 :])
    assert lines.index("mount --no-canonicalize --rbind . /run") < empty
