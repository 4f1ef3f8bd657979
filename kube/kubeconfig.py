"""A kubeconfig that stands alone: one context with its cluster and its user, readable from anywhere.

Rule: what it says is what kubectl would take: files in the order of `$KUBECONFIG`, the first to say something wins.
Source: Kubernetes pages "Organizing Cluster Access Using kubeconfig Files" and "kubeconfig (v1)".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from kube.settings import ClientSettings, ConfigurationError

Document = dict[str, Any]

LOOPBACK = "127.0.0.1"

CLUSTER_FILES = ("certificate-authority",)
USER_FILES = ("client-certificate", "client-key", "tokenFile")
"""Fields that name files, relative to the kubeconfig they stand in."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context. `host` and `port` are the API server's."""

    document: Document
    host: str
    port: int

    def text(self) -> str:
        """As a file."""
        return yaml.safe_dump(self.document)

    def at_loopback(self) -> Kubeconfig:
        """The same where the server is reached at 127.0.0.1, at the same port; its certificate is checked as before."""
        (named,) = self.document["clusters"]
        url = urlsplit(named["cluster"]["server"])
        server = urlunsplit(url._replace(netloc=f"{LOOPBACK}:{self.port}"))
        cluster = {"tls-server-name": self.host, **named["cluster"], "server": server}
        document = {**self.document, "clusters": [{**named, "cluster": cluster}]}
        return Kubeconfig(document, LOOPBACK, self.port)


def alone(settings: ClientSettings) -> Kubeconfig:
    """The context that the settings mean. Raises ConfigurationError."""
    files = _files(settings)
    named = settings.context or next((each for file in files if (each := _read(file).get("current-context"))), "")
    if not named:
        raise ConfigurationError(f"{_shown(files)} has no current-context; name one with --context.")
    context, _ = _found(files, "contexts", named)
    chosen = _inner(context, "context")
    cluster, at = _found(files, "clusters", chosen.get("cluster", ""))
    user, owner = _found(files, "users", chosen.get("user", ""))
    inner, person = _inner(cluster, "cluster"), _inner(user, "user")
    if inner.get("proxy-url"):
        raise ConfigurationError(f"cluster {cluster['name']} has a proxy-url, which is not supported here.")
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": named,
        "contexts": [context],
        "clusters": [{"name": cluster["name"], "cluster": _placed(inner, CLUSTER_FILES, at)}],
        "users": [{"name": user["name"], "user": _placed(person, USER_FILES, owner)}],
    }
    host, port = _server(str(inner.get("server", "")))
    if not host:
        raise ConfigurationError(f"cluster {cluster['name']} has no server.")
    return Kubeconfig(document, host, port)


def _server(text: str) -> tuple[str, int]:
    """Host and port of a URL; no host where it is none."""
    try:
        url = urlsplit(text)
        return url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    except ValueError:
        return "", 0


def _files(settings: ClientSettings) -> list[Path]:
    if settings.kubeconfig is not None:
        listed = [settings.kubeconfig]
    else:
        named = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        listed = [Path(name).expanduser() for name in named.split(os.pathsep) if name]
    found = [file.absolute() for file in listed if file.is_file()]
    if not found:
        raise ConfigurationError(f"There is no kubeconfig file {_shown(listed)}; name one with --kubeconfig.")
    return found


def _shown(files: list[Path]) -> str:
    return os.pathsep.join(map(str, files))


def _read(file: Path) -> Document:
    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"The kubeconfig {file} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"The kubeconfig {file} is no map.")
    return found


def _found(files: list[Path], what: str, name: str) -> tuple[Document, Path]:
    """The first of this name, and the folder of its file."""
    for file in files:
        for each in _listed(_read(file), what):
            if each.get("name") == name:
                return each, file.parent
    raise ConfigurationError(f"{_shown(files)} has no {name!r} among its {what}.")


def _inner(named: Document, what: str) -> Document:
    """What an entry of this name holds; nothing where it holds no map."""
    found = named.get(what)
    return dict(found) if isinstance(found, dict) else {}


def _listed(document: Document, what: str) -> Iterator[Document]:
    entries = document.get(what)
    yield from (each for each in (entries if isinstance(entries, list) else ()) if isinstance(each, dict))


def _placed(values: Document, names: tuple[str, ...], folder: Path) -> Document:
    """The same with paths that don't depend on where the kubeconfig is."""
    made = {**values, **{name: str(folder / str(values[name])) for name in names if values.get(name)}}
    plugin = made.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        made["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return made
