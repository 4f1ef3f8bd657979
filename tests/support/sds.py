"""What SDS secrets hold, read by an independent implementation of Envoy's schema."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from xds.resource import Resource
from xds.snapshot import Named

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the library's own, while it is imported
    from envoy_data_plane.envoy.config.core.v3 import DataSource
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret


@dataclass(frozen=True)
class Opened:
    """The three things an identity is given, all PEM."""

    chain: bytes
    key: bytes
    bundle: bytes


def open_secrets(named: Named) -> Opened:
    leaf, bundle = _secret(named["leaf"]), _secret(named["bundle"])
    assert leaf.tls_certificate is not None
    assert bundle.validation_context is not None
    return Opened(
        chain=_inline(leaf.tls_certificate.certificate_chain),
        key=_inline(leaf.tls_certificate.private_key),
        bundle=_inline(bundle.validation_context.trusted_ca),
    )


def _secret(resource: Resource) -> Secret:
    secret = Secret.parse(resource.body)
    assert secret.name == resource.name
    return secret


def _inline(source: DataSource | None) -> bytes:
    assert source is not None
    assert isinstance(source.inline_bytes, bytes)
    return source.inline_bytes
