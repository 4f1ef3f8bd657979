"""OpenSSL's command line as an independent judge of certificates."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

END = b"-----END CERTIFICATE-----\n"


def split(chain_pem: bytes) -> list[bytes]:
    """The certificates of a chain, one PEM each."""
    return [part + END for part in chain_pem.split(END) if part.strip()]


def refusal(folder: Path, bundle_pem: bytes, chain_pem: bytes, *options: str, at: datetime | None = None) -> str:
    """Why `openssl verify`, at its strictest, refuses the chain; empty when it accepts it."""
    leaf, *intermediates = split(chain_pem)
    files = {"bundle": bundle_pem, "intermediates": b"".join(intermediates), "leaf": leaf}
    for name, content in files.items():
        (folder / f"{name}.pem").write_bytes(content)
    when = ["-attime", str(int(at.timestamp()))] if at else []
    answer = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore", *when, *options,
         "-CAfile", "bundle.pem", "-untrusted", "intermediates.pem", "leaf.pem"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if answer.returncode == 0 and answer.stdout == "leaf.pem: OK\n" else answer.stdout + answer.stderr


def self_signed(name: str) -> str:
    """A key and a certificate of its own, PEM."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
         "-subj", f"/CN={name}", "-days", "1", "-keyout", "/dev/stdout", "-out", "/dev/stdout"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout
