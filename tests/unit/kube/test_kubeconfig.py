"""A kubeconfig that stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.kubeconfig import alone
from kube.settings import ClientSettings, ConfigurationError


def document(name: str, server: str = "https://api.example:6443", **cluster: Any) -> dict[str, Any]:
    user = {"client-certificate": "keys/me.crt", "client-key": "/keys/me.key", "exec": {"command": "./login"}}
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": f"{name}-cluster", "user": f"{name}-user"}}],
        "clusters": [{"name": f"{name}-cluster", "cluster": {"server": server, **cluster}}],
        "users": [{"name": f"{name}-user", "user": user}],
    }


def written(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def test_one_context_is_left_and_its_files_are_found_from_anywhere(tmp_path: Path) -> None:
    both = {**document("one"), "contexts": [*document("two")["contexts"], *document("one")["contexts"]]}
    both["clusters"] += document("two")["clusters"]
    found = alone(ClientSettings(written(tmp_path / "config", both))).document
    assert [each["name"] for each in (*found["contexts"], *found["clusters"])] == ["one", "one-cluster"]
    (user,) = found["users"]
    assert user["user"]["client-certificate"] == str(tmp_path / "keys/me.crt")
    assert user["user"]["client-key"] == "/keys/me.key"
    assert user["user"]["exec"]["command"] == str(tmp_path / "login")


def test_the_first_of_several_files_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path / "a" / "config", document("one", "https://first"))
    second = written(tmp_path / "b" / "config", {**document("one", "https://second"), "current-context": "two"})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'absent'}:{second}")
    found = alone(ClientSettings())
    assert (found.host, found.port, found.document["current-context"]) == ("first", 443, "one")


@pytest.mark.parametrize(
    ("server", "name", "moved"),
    [
        ("https://api.example:6443/prefix", "api.example", "https://127.0.0.1:6443/prefix"),
        ("https://127.0.0.1:1234", "127.0.0.1", "https://127.0.0.1:1234"),
        ("https://[fd00::1]:6443", "fd00::1", "https://127.0.0.1:6443"),
    ],
)
def test_at_loopback_the_certificate_is_still_the_servers(tmp_path: Path, server: str, name: str, moved: str) -> None:
    found = alone(ClientSettings(written(tmp_path / "config", document("one", server)))).at_loopback()
    (cluster,) = found.document["clusters"]
    assert (cluster["cluster"]["server"], cluster["cluster"]["tls-server-name"]) == (moved, name)


def test_a_name_that_the_kubeconfig_says_itself_stays(tmp_path: Path) -> None:
    content = document("one", **{"tls-server-name": "kube"})
    (cluster,) = alone(ClientSettings(written(tmp_path / "config", content))).at_loopback().document["clusters"]
    assert cluster["cluster"]["tls-server-name"] == "kube"


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        (document("one"), "two", "'two' among its contexts"),
        ({**document("one"), "current-context": ""}, None, "no current-context"),
        ({**document("one"), "users": []}, None, "'one-user' among its users"),
        (document("one", ""), None, "one-cluster has no server"),
        (document("one", **{"proxy-url": "http://proxy"}), None, "proxy-url"),
        (["no", "map"], None, "is no map"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, context: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        alone(ClientSettings(written(tmp_path / "config", content), context))
