"""Leaves asked for by objects: cert-manager's CertificateRequest and Kubernetes' own, signed by a test's controller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from ca.providers.cert_manager import CertManager, IssuerRef
from ca.providers.checking import checked
from ca.providers.cluster_signer import COLLECTION, ClusterSigner, from_file, from_trust_bundles
from ca.providers.provider import ProviderError, RootsFile, Wanted
from ca.providers.records import NAME as RECORDS
from ca.providers.records import SecretRecords
from ca.providers.request_objects import RequestObjects
from ca.providers.trust import SIGNER, bundle_hash, judge
from ca.reports import NOTHING_SEEN, report_of
from ca.storage import StorageError
from company_ca import Signer, company_root, pem
from custom_kind import ANYTHING, CRDS
from fake_clock import FakeClock
from kube.client import Client
from kube.clock import SYSTEM_CLOCK
from mesh.model import Identity
from raw_api import MERGE, RawApi
from signing_controller import Object, SigningController, condition, controlled

WEB = Identity("cluster.local", "shop", "web")
SIGNER_NAME = "company.example/mesh"
DAY = timedelta(days=1)
CERT_MANAGER = "certificaterequests.cert-manager.io"


@pytest.fixture
def signer() -> Signer:
    now = datetime.now(UTC)
    return company_root("company root", now).below("company intermediate", now)


@pytest.fixture
def wanted() -> Wanted:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB.uri)])
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=True)
    return Wanted(WEB, request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()), DAY, frozenset())


@pytest.fixture
def roots(signer: Signer, tmp_path: Path) -> RootsFile:
    (tmp_path / "roots.pem").write_bytes(pem(signer.root))
    return RootsFile(tmp_path / "roots.pem")


@pytest.fixture(scope="module")
def cert_manager_crd(api: RawApi) -> Iterator[None]:
    """The shape that cert-manager documents, as far as an API server looks at it."""
    text = {"type": "string"}
    usage = {"type": "string", "enum": ["digital signature", "server auth", "client auth"]}
    spec = {
        "type": "object",
        "required": ["issuerRef", "request"],
        "properties": {
            "duration": text,
            "isCA": {"type": "boolean"},
            "issuerRef": {
                "type": "object", "required": ["name"], "properties": {"name": text, "kind": text, "group": text}
            },
            "request": {"type": "string", "format": "byte"},
            "usages": {"type": "array", "items": usage},
            "username": text,
        },
    }  # fmt: skip
    schema = {"type": "object", "properties": {"spec": spec, "status": ANYTHING}}
    version = {
        "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }  # fmt: skip
    names = {
        "plural": "certificaterequests", "singular": "certificaterequest", "kind": "CertificateRequest",
        "listKind": "CertificateRequestList",
    }  # fmt: skip
    body = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": CERT_MANAGER},
        "spec": {"group": "cert-manager.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }  # fmt: skip
    api("POST", CRDS, body).expect(201)
    while api("GET", "/apis/cert-manager.io/v1/certificaterequests").code != 200:
        # Established is not yet served, and nothing tells when it is.
        time.sleep(0.02)
    yield
    api("DELETE", f"{CRDS}/{CERT_MANAGER}").expect()


def cert_manager(client: Client, namespace: str, roots: RootsFile, patience: float = 20.0) -> CertManager:
    objects = RequestObjects(client, of_cert_manager(namespace), patience, SYSTEM_CLOCK)
    return CertManager(objects, IssuerRef(name="company", kind="ClusterIssuer"), roots)


def of_cert_manager(namespace: str) -> str:
    return f"/apis/cert-manager.io/v1/namespaces/{namespace}/certificaterequests"


def cluster_signer(client: Client, roots: RootsFile, patience: float = 20.0) -> ClusterSigner:
    objects = RequestObjects(client, COLLECTION, patience, SYSTEM_CLOCK)
    return ClusterSigner(objects, SIGNER_NAME, from_file(roots))


async def approve(controller: SigningController, found: Object) -> Object:
    """As an approver does."""
    return await controller.write(found, "approval", conditions=[condition("Approved", message="a test said so")])


async def sign_request(controller: SigningController, found: Object) -> None:
    """Kubernetes' way: approved first, then the status has the certificate and nothing else changes."""
    seconds = found["spec"]["expirationSeconds"]
    await controller.write(
        await approve(controller, found), "status", certificate=controller.certificate(found, seconds)
    )


async def issue(controller: SigningController, found: Object) -> None:
    """cert-manager's way: it is approved, pending for a while, then Ready; the chain is in certificate."""
    told = [condition("Approved", reason="cert-manager.io")]
    pending = condition("Ready", "False", "Pending", "Waiting on the issuer")
    found = await controller.write(found, "status", conditions=[*told, pending])
    seconds = float(found["spec"]["duration"].removesuffix("s"))
    ready = condition("Ready", reason="Issued")
    await controller.write(
        found, "status", conditions=[*told, ready], certificate=controller.certificate(found, seconds)
    )


async def left(client: Client, collection: str) -> list[Any]:
    found = await client.request("GET", collection)
    return [each for each in found["items"] if each["metadata"].get("labels", {}).get("weft.dev/leaf-request")]


async def test_cert_manager_signs_and_the_request_is_removed(
    client: Client, namespace: str, cert_manager_crd: None, signer: Signer, wanted: Wanted, roots: RootsFile
) -> None:
    collection = of_cert_manager(namespace)
    async with controlled(client, collection, signer, issue) as controller:
        chain = await cert_manager(client, namespace, roots).sign(wanted)
    path = checked(chain, wanted, roots.read(), datetime.now(UTC))
    assert len(path.certificates) == 2
    (asked,) = controller.seen.values()
    assert asked["spec"]["isCA"] is False
    assert asked["spec"]["issuerRef"] == {"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert set(asked["spec"]["usages"]) == {"digital signature", "server auth", "client auth"}
    assert asked["metadata"]["annotations"]["weft.dev/identity"] == WEB.uri
    assert await left(client, collection) == []


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (condition("Denied", reason="policy", message="not for you"), "is Denied: policy: not for you"),
        (condition("InvalidRequest", message="a bad CSR"), "is InvalidRequest: Test: a bad CSR"),
        (condition("Ready", "False", "Failed", "the issuer is broken"), "Failed: the issuer is broken"),
    ],
)
async def test_what_cert_manager_refuses_is_told_in_its_words_and_removed(
    client: Client, namespace: str, cert_manager_crd: None, signer: Signer, wanted: Wanted, roots: RootsFile,
    told: Object, words: str,
) -> None:  # fmt: skip
    async def refuse(controller: SigningController, found: Object) -> None:
        await controller.write(found, "status", conditions=[told])

    collection = of_cert_manager(namespace)
    async with controlled(client, collection, signer, refuse):
        with pytest.raises(ProviderError, match=words):
            await cert_manager(client, namespace, roots).sign(wanted)
    assert await left(client, collection) == []


async def test_a_request_nobody_approves_is_given_up_and_removed(
    client: Client, namespace: str, cert_manager_crd: None, wanted: Wanted, roots: RootsFile
) -> None:
    with pytest.raises(ProviderError, match=r"was not approved within 0.2 s"):
        await cert_manager(client, namespace, roots, patience=0.2).sign(wanted)
    assert await left(client, of_cert_manager(namespace)) == []


async def test_a_cluster_without_cert_manager_is_named(client: Client, wanted: Wanted) -> None:
    absent = RequestObjects(client, "/apis/absent.example/v1/certificaterequests", 1.0, SYSTEM_CLOCK)
    with pytest.raises(ProviderError, match="is there such a resource in this cluster"):
        await absent.fulfilled({}, WEB.uri, lambda _: None)


async def test_a_signer_of_the_cluster_signs_what_somebody_approves(
    client: Client, signer: Signer, wanted: Wanted, roots: RootsFile
) -> None:
    async with controlled(client, COLLECTION, signer, sign_request) as controller:
        chain = await cluster_signer(client, roots).sign(wanted)
    checked(chain, wanted, roots.read(), datetime.now(UTC))
    (asked,) = controller.seen.values()
    assert (asked["spec"]["signerName"], asked["spec"]["expirationSeconds"]) == (SIGNER_NAME, 86400)
    assert await left(client, COLLECTION) == []


async def test_what_an_approver_denies_is_told(
    client: Client, signer: Signer, wanted: Wanted, roots: RootsFile
) -> None:
    async def deny(controller: SigningController, found: Object) -> None:
        await controller.write(found, "approval", conditions=[condition("Denied", message="no mesh here")])

    async with controlled(client, COLLECTION, signer, deny):
        with pytest.raises(ProviderError, match=f"signer {SIGNER_NAME}: the request is Denied: Test: no mesh here"):
            await cluster_signer(client, roots).sign(wanted)


async def test_what_is_approved_and_signed_by_nobody_is_told_as_such(
    client: Client, signer: Signer, wanted: Wanted, roots: RootsFile
) -> None:
    async with controlled(client, COLLECTION, signer, approve):
        with pytest.raises(ProviderError, match=r"was not signed within 1 s"):
            await cluster_signer(client, roots, patience=1.0).sign(wanted)
    assert await left(client, COLLECTION) == []


async def test_many_leaves_are_signed_at_once(client: Client, signer: Signer, wanted: Wanted, roots: RootsFile) -> None:
    provider = cluster_signer(client, roots)
    async with controlled(client, COLLECTION, signer, sign_request) as controller:
        chains = await asyncio.gather(*(provider.sign(wanted) for _ in range(provider.at_once)))
    assert len(controller.seen) == len(set(chains)) == provider.at_once
    assert await left(client, COLLECTION) == []


async def test_what_a_killed_process_left_behind_is_removed_later(
    client: Client, namespace: str, cert_manager_crd: None, wanted: Wanted, roots: RootsFile
) -> None:
    collection = of_cert_manager(namespace)
    provider = cert_manager(client, namespace, roots)
    signing = asyncio.create_task(RequestObjects.fulfilled(
        RequestObjects(client, collection, 60.0, SYSTEM_CLOCK),
        {"apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
         "spec": {"request": "eA==", "issuerRef": {"name": "x"}}}, WEB.uri, lambda _: None,
    ))  # fmt: skip
    async with asyncio.timeout(20):
        while not await left(client, collection):  # noqa: ASYNC110 - the API server tells by being asked
            await asyncio.sleep(0.02)
    assert await provider.roots() == roots.read()
    assert len(await left(client, collection)) == 1, "it may be another replica's, and young"
    clock = FakeClock(datetime.now(UTC) + timedelta(hours=1))
    await RequestObjects(client, collection, 20.0, clock).sweep()
    assert await left(client, collection) == []
    signing.cancel()
    await asyncio.gather(signing, return_exceptions=True)


async def test_roots_come_from_the_signers_cluster_trust_bundles_where_the_server_has_them(
    client: Client, api: RawApi, signer: Signer
) -> None:
    path = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
    read = from_trust_bundles(client, SIGNER_NAME)
    if api("GET", path).code == 404:
        with pytest.raises(ProviderError, match="this API server has no ClusterTrustBundles: name a file of roots"):
            await read()
        return
    with pytest.raises(ProviderError, match=f"there is no ClusterTrustBundle of signer {SIGNER_NAME}"):
        await read()
    other = company_root("other", datetime.now(UTC))
    for name, signer_name, root in (("mesh", SIGNER_NAME, signer.root), ("else", "else.example/x", other.certificate)):
        spec = {"signerName": signer_name, "trustBundle": pem(root).decode()}
        metadata = {"name": f"{signer_name.replace('/', ':')}:{name}"}
        body = {"apiVersion": "certificates.k8s.io/v1beta1", "kind": "ClusterTrustBundle", "metadata": metadata}
        api("POST", path, {**body, "spec": spec}).expect(201)
    assert await read() == (signer.root,)


async def test_replicas_share_which_roots_are_trusted_and_nonsense_is_refused(
    client: Client, namespace: str, signer: Signer, api: RawApi
) -> None:
    now = datetime.now(UTC)
    other = company_root("other root", now)
    one, two = (SecretRecords(client, namespace, name, lambda _: None, 60.0) for name in ("one_1", "two_1"))

    async def exchange(records: SecretRecords, *offered: x509.Certificate, known: str = "") -> Any:
        ours = report_of(known, SIGNER, DAY, NOTHING_SEEN, 0.0, settled=False)
        return await records.exchanged(
            lambda record, reports: judge(record, offered, reports, NOTHING_SEEN, DAY, now), ours, 0.0
        )

    first = (await exchange(one, signer.root)).record
    assert (await exchange(two, signer.root, known=bundle_hash(first))).record == first
    both = (await exchange(one, signer.root, other.certificate, known=bundle_hash(first))).record
    assert [entry.held for entry in both.entries].count(True) == 1
    waiting = await exchange(one, signer.root, other.certificate, known=bundle_hash(both))
    assert waiting.onlookers.behind == ("two_1",), "the other replica serves the older bundle"
    await exchange(two, signer.root, other.certificate, known=bundle_hash(both))
    settled = await exchange(one, signer.root, other.certificate, known=bundle_hash(both))
    assert all(entry.held for entry in settled.record.entries)
    path = f"/api/v1/namespaces/{namespace}/secrets/{RECORDS}"
    api("PATCH", path, {"data": {"roots.json": "bm9uc2Vuc2U="}}, content_type=MERGE).expect()
    with pytest.raises(StorageError, match="does not say which roots are trusted: restore it, or remove it"):
        await exchange(one, signer.root)
