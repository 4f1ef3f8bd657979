"""Where the API server is looked for. Rule: importing this costs nothing, unlike the client itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class ConfigurationError(Exception):
    """There is no usable way to the API server; the message says which file or setting is at fault."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """A kubeconfig and a context in it.

    With neither, the pod we run in is asked first, then `$KUBECONFIG`, then `~/.kube/config`, as kubectl does.
    """

    kubeconfig: Path | None = None
    context: str | None = None
