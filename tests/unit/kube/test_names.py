"""Names: what Kubernetes takes, and nothing that could break out of a SPIFFE ID or a resource name."""

from __future__ import annotations

import pytest

from kube.names import is_label, is_subdomain, label_fault, shown, subdomain_fault


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_a_dns_label_is_a_name(name: str) -> None:
    assert is_label(name)
    assert is_subdomain(name)
    assert not label_fault(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a/b", "a\n", "\na", "ä", "a b", "a" * 64, "../x", "a\x00", "a.b"]
)
def test_anything_else_is_no_dns_label(name: str) -> None:
    assert not is_label(name)
    assert "no name" in label_fault(name)


def test_a_subdomain_has_dots_and_253_characters_at_most() -> None:
    assert is_subdomain("a.b-c.d")
    assert is_subdomain("a" * 253)
    assert not is_subdomain("a" * 254)
    assert not is_subdomain("a..b")
    assert not is_subdomain("a.b/ns/c")
    assert subdomain_fault("a..b")


def test_a_long_name_is_shortened_in_sentences() -> None:
    assert len(shown("x" * 10_000)) < 90
    assert "\n" not in shown("a\nb")
