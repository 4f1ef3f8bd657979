"""Who asks: the API server proves itself by certificate and says for whom it asks in headers.

Rule: headers count only with a certificate that the cluster's front-proxy CA signed, for a name that may speak for
others; without one nobody is anybody (rule M1). What is known of that CA is read again and again, for it rotates.
Source: Kubernetes page "Configure the Aggregation Layer", authentication flow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

PATH: Final = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class Requests(Protocol):
    """What is needed of `kube.client.Client`."""

    async def request(self, method: str, path: str, *, query: Mapping[str, str] = ..., body: object = None) -> Any:
        """The decoded answer. Raises ApiError and ApiUnavailable."""


@dataclass(frozen=True, slots=True)
class User:
    """For whom is asked. `extra` are pairs of key and values."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Who may say for whom it asks, and by which headers. No names: every certificate of `ca_pem` may."""

    ca_pem: str = ""
    names: tuple[str, ...] = ()
    user_headers: tuple[str, ...] = ()
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()

    def user(self, certificate: Mapping[str, Any] | None, headers: Iterable[tuple[str, str]]) -> User | None:
        """Who asks, of a certificate that TLS has verified against `ca_pem`; None: not proven."""
        if not certificate or not self.ca_pem or (self.names and not self._named(certificate)):
            return None
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.lower(), []).append(value)
        name = _first(given, self.user_headers)
        groups = next((given[header] for header in self.group_headers if header in given), [])
        return User(name, _first(given, self.uid_headers), tuple(groups), self._extra(given)) if name else None

    def _named(self, certificate: Mapping[str, Any]) -> bool:
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        return any(key == "commonName" and value in self.names for key, value in subject)

    def _extra(self, given: Mapping[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple(
            sorted(
                (unquote(name.removeprefix(prefix)), tuple(values))
                for prefix in self.extra_prefixes
                for name, values in given.items()
                if name.startswith(prefix) and name != prefix
            )
        )


async def front_proxy(requests: Requests) -> FrontProxy:
    """What the API server tells those it asks on behalf of others. Raises ApiError, ApiUnavailable."""
    found = await requests.request("GET", PATH)
    data = found.get("data") or {}
    return FrontProxy(
        ca_pem=str(data.get("requestheader-client-ca-file") or ""),
        names=_names(data, "requestheader-allowed-names"),
        user_headers=_headers(data, "requestheader-username-headers"),
        uid_headers=_headers(data, "requestheader-uid-headers"),
        group_headers=_headers(data, "requestheader-group-headers"),
        extra_prefixes=_headers(data, "requestheader-extra-headers-prefix"),
    )


def _names(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    try:
        found = json.loads(data.get(key) or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list):
        # Names that can't be read let nobody in, rather than everybody.
        return ("",)
    return tuple(str(item) for item in found)


def _headers(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(data, key) if name)


def _first(given: Mapping[str, list[str]], names: Iterable[str]) -> str:
    return next((given[name][0] for name in names if given.get(name)), "")
