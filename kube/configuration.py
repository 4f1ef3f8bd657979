"""Finds out how to reach the API server and who we are to it: a kubeconfig, or the pod we run in.

Rule: everything is read anew at each call, so a rotated token or certificate is found by loading again.
Reading kubeconfig files, exec plugins and the pod's own ServiceAccount is the official `kubernetes` package's work.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config as official
from kubernetes.aio.client import Configuration

from kube.settings import ClientSettings, ConfigurationError


async def load(settings: ClientSettings) -> Any:
    """The official package's Configuration. Raises ConfigurationError."""
    found = Configuration()
    try:
        if settings == ClientSettings() and "KUBERNETES_SERVICE_HOST" in os.environ:
            official.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            await official.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=_files(settings), context=settings.context, client_configuration=found, persist_config=False
            )
    except (official.ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"No way to the Kubernetes API server: {error}") from error
    # Watches hold a connection each; a limit would let them starve the requests.
    found.connection_pool_maxsize = 0
    return found


def trust(configuration: Any) -> tuple[Any, ...]:
    """What a TLS session is made of: while this is equal, connections may be kept. Reads the files it names."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return (
        configuration.host,
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
        *(_content(file) for file in files),
    )


def _files(settings: ClientSettings) -> str:
    """The kubeconfig files, as `$KUBECONFIG` lists them."""
    if settings.kubeconfig is not None:
        if not settings.kubeconfig.is_file():
            raise ConfigurationError(f"There is no kubeconfig file {settings.kubeconfig}.")
        return str(settings.kubeconfig)
    listed = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(name).is_file() for name in listed.split(os.pathsep) if name):
        raise ConfigurationError(
            f"No way to the Kubernetes API server: this is no pod with a ServiceAccount, and {listed} is no file. "
            "Name a kubeconfig with --kubeconfig or in $KUBECONFIG."
        )
    return listed


def _content(file: str | None) -> bytes:
    try:
        return Path(file).read_bytes() if file else b""
    except OSError:
        return b""
