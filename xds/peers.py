"""Who may be at the other end of a connection: the names that ours go by, and trust domains of other meshes.

Rule: a certificate proves a name of a trust domain only by that domain's own roots. Ours may go by several names at a
time, all proven by our roots; what another mesh vouches for is never one of ours (SPIFFE Federation §4.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mesh.model import Identity
from xds import pb

VALIDATOR: Final = "envoy.tls.cert_validator.spiffe"
"""Chooses the roots by the trust domain in the certificate. Envoy's own takes any root for any name."""


@dataclass(frozen=True, slots=True)
class Peers:
    """`home` is how identities of the mesh are called inside the control plane, `domains` how on the wire.

    No `domains`: as inside. `foreign` are other trust domains with their roots, PEM, sorted by name. `serving` are the
    names that servers are accepted by, where that are not all `domains`. `gone` were foreign: connections that they
    began may still be there.
    """

    home: str = ""
    domains: tuple[str, ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()
    serving: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def servers(self) -> Peers:
        """The same for those who are called, in a cluster: whose roots prove them is said elsewhere."""
        return Peers(self.home, self.serving or self.domains, self.unproven)

    @property
    def unproven(self) -> tuple[tuple[str, str], ...]:
        """The other trust domains without their roots, for whoever needs the names only."""
        return tuple((name, "") for name in self.foreign_names)

    def uris(self, identity: Identity) -> tuple[str, ...]:
        """All SPIFFE IDs by which this identity is accepted; none where nobody vouches for it any more."""
        if identity.trust_domain == self.home and self.domains:
            return tuple(identity._replace(trust_domain=domain).uri for domain in self.domains)
        # Another mesh's identity under a name that is one of ours now: nobody, or one of ours would be let in as it.
        known = {self.home, *self.foreign_names}
        return (identity.uri,) if not self.home or identity.trust_domain in known else ()

    def all_uris(self, identities: Iterable[Identity]) -> list[str]:
        """The SPIFFE IDs of all of them, sorted."""
        return sorted({uri for identity in identities for uri in self.uris(identity)})

    def ours(self, trust_domain: str) -> tuple[str, ...]:
        """The names that this trust domain of ours goes by."""
        return self.domains if self.domains and trust_domain == self.home else (trust_domain,)

    @property
    def foreign_names(self) -> tuple[str, ...]:
        """The other trust domains that there are roots of."""
        return tuple(name for name, _ in self.foreign)


NO_PEERS: Final = Peers()
"""Our own mesh under one name."""


def trusting(bundle: str, trust_domain: str, peers: Peers) -> pb.CertificateValidationContext:
    """Accepts who is proven by our roots; with other meshes: each name by the roots of its own trust domain."""
    if not peers.foreign:
        return pb.CertificateValidationContext(trusted_ca=pb.DataSource(inline_string=bundle))
    ours = [(name, bundle) for name in peers.ours(trust_domain)]
    known = {name for name, _ in ours}
    each = [*ours, *((name, roots) for name, roots in peers.foreign if name not in known)]
    config = pb.SPIFFECertValidatorConfig(
        trust_domains=[
            pb.SPIFFECertValidatorConfig.TrustDomain(name=name, trust_bundle=pb.DataSource(inline_string=roots))
            for name, roots in each
        ]
    )
    extension = pb.TypedExtensionConfig(name=VALIDATOR, typed_config=pb.packed(config))
    return pb.CertificateValidationContext(custom_validator_config=extension)
