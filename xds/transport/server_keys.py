"""Gives a server's TLS context its certificate.

Rule: the key is in no file on a disk, though `ssl` takes nothing but paths.
"""

from __future__ import annotations

import os
import ssl


def load(context: ssl.SSLContext, chain: bytes, key: bytes, name: str) -> None:
    """Serve with this chain and key (PEM), by a file that exists in memory only; `name` is how the kernel lists it.

    Raises ssl.SSLError where the two do not belong together.
    """
    file = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(file, key + b"\n" + chain)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
