"""Which names Kubernetes takes. Rule: a name that passes here is safe inside Envoy resource names and SPIFFE IDs.

Source: Kubernetes documentation, "Object Names and IDs" (RFC 1123 labels and subdomains).
"""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_label(text: str) -> bool:
    """Whether this is a DNS label, as namespaces and Services are named."""
    return _LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Whether this is a DNS subdomain name, as all other objects are named."""
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def label_fault(text: str) -> str:
    """Why this is no DNS label, as the rest of a sentence; empty if it is one."""
    if is_label(text):
        return ""
    return f"{shown(text)} is no name: up to 63 of a–z, 0–9 and '-' are, beginning and ending with a letter or digit"


def subdomain_fault(text: str) -> str:
    """Why this is no DNS subdomain name, as the rest of a sentence; empty if it is one."""
    if is_subdomain(text):
        return ""
    return (
        f"{shown(text)} is no name: up to 253 of a–z, 0–9, '-' and '.' are, "
        "each part beginning and ending with a letter or digit"
    )


def shown(text: str) -> str:
    """A person's text inside a sentence: quoted, on one line, and not longer than a line."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
