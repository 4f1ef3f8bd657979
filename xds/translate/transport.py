"""Mutual TLS on both sides: TLS 1.3 only, identities by URI SAN (rule A2), certificates by SDS.

Rule: fail closed. Where nobody is allowed, a SAN nobody has is asked for; an empty list would let everyone in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.model import Identity
from xds import pb
from xds.names import CALLERS_SECRET
from xds.peers import NO_PEERS, Peers
from xds.translate.certificates import OURS, Certificates
from xds.translate.naming import Flavour
from xds.translate.sources import ads

NOBODY: Final = "weft:nobody"
"""A URI that no certificate of ours carries: the trust domain's all begin with `spiffe://`."""
PLAINTEXT: Final = "plaintext"
"""Metadata of an endpoint that is not meshed (rule H4)."""
MATCH_METADATA: Final = "envoy.transport_socket_match"
"""The metadata namespace that Envoy's `transport_socket_matches` reads."""


def exactly(identities: Iterable[Identity], peers: Peers = NO_PEERS) -> list[pb.SubjectAltNameMatcher]:
    """Peers with one of these identities, by whichever name; with none of them, nobody."""
    return [_uri(pb.StringMatcher(exact=uri)) for uri in peers.all_uris(identities) or [NOBODY]]


def anyone_of(trust_domains: Iterable[str]) -> list[pb.SubjectAltNameMatcher]:
    """Peers with any identity of one of the trust domains."""
    return [_uri(pb.StringMatcher(prefix=f"spiffe://{trust_domain}/")) for trust_domain in trust_domains]


def upstream_mtls(
    identities: Iterable[Identity], flavour: Flavour, peers: Peers = NO_PEERS, certificates: Certificates = OURS
) -> pb.TransportSocket:
    """Connects only to a peer that proves one of the identities."""
    validation = _bundle_and(exactly(identities, peers), certificates)
    return _tls(pb.UpstreamTlsContext(common_tls_context=_common(validation, certificates, alpn=[flavour.offer])))


def downstream_mtls(certificates: Certificates = OURS) -> pb.TransportSocket:
    """Accepts all that the secret of callers accepts; who may do what is decided per request.

    No ALPN is chosen: HTTP's version is told by the first bytes, because our names in the offer say nothing about it.
    """
    return downstream_mtls_by_secret(CALLERS_SECRET, certificates)


def downstream_mtls_by_secret(secret: str, certificates: Certificates = OURS) -> pb.TransportSocket:
    """Accepts the identities that the named validation context lists, refusing all others in the handshake."""
    common = _common(None, certificates)
    common.validation_context_sds_secret_config.CopyFrom(_sds(secret, ads()))
    return _tls(_downstream(common))


def upstream_plaintext() -> pb.TransportSocket:
    """No encryption: for pods without a sidecar."""
    return pb.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=pb.packed(pb.RawBuffer()))


def _downstream(common: pb.CommonTlsContext) -> pb.DownstreamTlsContext:
    return pb.DownstreamTlsContext(common_tls_context=common, require_client_certificate=pb.BoolValue(value=True))


def _bundle_and(
    sans: list[pb.SubjectAltNameMatcher], certificates: Certificates
) -> pb.CommonTlsContext.CombinedCertificateValidationContext:
    return pb.CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=pb.CertificateValidationContext(match_typed_subject_alt_names=sans),
        validation_context_sds_secret_config=_sds(certificates.bundle, certificates.source()),
    )


def _common(
    validation: pb.CommonTlsContext.CombinedCertificateValidationContext | None,
    certificates: Certificates,
    alpn: Iterable[str] = (),
) -> pb.CommonTlsContext:
    return pb.CommonTlsContext(
        tls_params=pb.TlsParameters(
            tls_minimum_protocol_version=pb.TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=pb.TlsParameters.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[_sds(certificates.leaf, certificates.source())],
        combined_validation_context=validation,
        alpn_protocols=alpn,
    )


def _sds(secret: str, source: pb.ConfigSource) -> pb.SdsSecretConfig:
    return pb.SdsSecretConfig(name=secret, sds_config=source)


def _uri(matcher: pb.StringMatcher) -> pb.SubjectAltNameMatcher:
    return pb.SubjectAltNameMatcher(san_type=pb.SubjectAltNameMatcher.URI, matcher=matcher)


def _tls(context: pb.UpstreamTlsContext | pb.DownstreamTlsContext) -> pb.TransportSocket:
    return pb.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.packed(context))
