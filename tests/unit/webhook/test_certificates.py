"""The serving certificate: exchanged between handshakes, never half, with the versions and suites that are safe."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from api_server_keys import Signer
from webhook.certificates import CertificateError, CertificateFiles, Certificates

ROOT = Signer("root")


def written(folder: Path, name: str = "webhook.test") -> CertificateFiles:
    return CertificateFiles(*ROOT.server([name]).write(folder, "tls"))


def client(**changes: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ROOT.pem.decode())
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def shaken(server: ssl.SSLContext, asking: ssl.SSLContext, name: str | None = None) -> ssl.SSLObject:
    """The client's end of a connection after its handshake, without a network. Raises ssl.SSLError."""
    asking.check_hostname = name is not None
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = asking.wrap_bio(to_client, to_server, server_hostname=name)
    ends = [ours, theirs]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    return ours


def names(connection: ssl.SSLObject) -> list[str]:
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("name", ["b.test", None])
def test_the_next_handshake_sees_the_new_certificate(tmp_path: Path, name: str | None) -> None:
    served = Certificates(written(tmp_path, "a.test"))
    assert served.load()
    assert names(shaken(served.context, client())) == ["a.test"]
    written(tmp_path, "b.test")
    assert served.load()
    assert names(shaken(served.context, client(), name)) == ["b.test"]


def test_files_that_did_not_change_change_nothing(tmp_path: Path) -> None:
    served = Certificates(written(tmp_path))
    assert (served.load(), served.load()) == (True, False)


def test_another_key_than_the_certificates_leaves_the_one_before(tmp_path: Path) -> None:
    files = written(tmp_path, "a.test")
    served = Certificates(files)
    served.load()
    before = served.not_after
    files.key.write_bytes(ROOT.server(["b.test"]).key)
    with pytest.raises(CertificateError, match=r"tls\.crt and .*tls\.key: "):
        served.load()
    assert names(shaken(served.context, client(), "a.test")) == ["a.test"]
    assert served.not_after == before


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_told_with_the_files_name(tmp_path: Path, content: bytes) -> None:
    files = written(tmp_path)
    files.chain.write_bytes(content)
    with pytest.raises(CertificateError, match=r"tls\.crt"):
        Certificates(files).load()


def test_files_that_are_not_there_are_told_by_name(tmp_path: Path) -> None:
    served = Certificates(CertificateFiles(tmp_path / "no.crt", tmp_path / "no.key"))
    with pytest.raises(CertificateError, match=r"no\.crt: No such file"):
        served.load()
    assert served.not_after is None


def test_the_secret_of_a_cluster_is_exchanged_as_one(tmp_path: Path) -> None:
    """The kubelet swaps a link: both files are new at once."""
    for folder, name in (("one", "a.test"), ("two", "b.test")):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, name)
    link = tmp_path / "..data"
    link.symlink_to("one")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    served = Certificates(CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key"))
    assert served.load()
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    assert served.load()
    assert names(shaken(served.context, client(), "b.test")) == ["b.test"]


def test_versions_before_1_2_are_refused(tmp_path: Path) -> None:
    served = Certificates(written(tmp_path))
    served.load()
    assert served.context.minimum_version is ssl.TLSVersion.TLSv1_2
    newest = shaken(served.context, client(), "webhook.test")
    assert newest.version() == "TLSv1.3"
    older = shaken(served.context, client(maximum_version=ssl.TLSVersion.TLSv1_2), "webhook.test")
    suite = older.cipher()
    assert suite is not None
    assert re.fullmatch(r"ECDHE-ECDSA-(AES\d+-GCM|CHACHA20).*", suite[0])


@pytest.mark.parametrize("suite", ["AES256-SHA", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_weak_suites_of_tls_1_2_are_refused(tmp_path: Path, suite: str) -> None:
    served = Certificates(written(tmp_path))
    served.load()
    asking = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    asking.set_ciphers(f"{suite}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shaken(served.context, asking, "webhook.test")
