"""Whatever stands where issuers are kept: it is used as it was meant, or refused in words that hold no key."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ca.domains import Domains, begun
from ca.federation import FederationError, endpoint, read_partners
from ca.issuers import make_intermediate, make_root
from ca.keeping import NAMES, Kept, from_data, to_data
from ca.reports import Report, Seen, onlookers, read_report
from ca.rotation import Action, Step
from ca.settling import DEFAULT_LIFETIMES, Issuers, carry_out, carry_out_change
from ca.spiffe_bundle import BadBundle, read_bundle, write_bundle
from ca.storage import StorageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOMAIN = "cluster.local"
ROOT = make_root(DOMAIN, NOW, timedelta(days=100))
STEADY = Issuers(ROOT, make_intermediate(ROOT, DOMAIN, NOW, timedelta(days=10)))


def after(action: Action, issuers: Issuers) -> Issuers:
    return carry_out(Step(action, "asked"), issuers, DOMAIN, DEFAULT_LIFETIMES, NOW)


DISTRIBUTING = after(Action.PREPARE_ROOT, STEADY)
DRAINING = after(Action.SIGN_WITH_NEXT, DISTRIBUTING)
RENAMING = replace(STEADY, domains=begun(Domains(DOMAIN), "shop.example", timedelta(hours=1), NOW))
RENAMED = carry_out_change(Step(Action.SIGN_NEXT_DOMAIN, "asked"), RENAMING, DEFAULT_LIFETIMES, NOW)
KEPT = st.sampled_from([to_data(each) for each in (STEADY, DISTRIBUTING, DRAINING, RENAMING, RENAMED)])
BUNDLE = write_bundle([ROOT.certificate], timedelta(minutes=5))
PARTNERS = (
    b"federatesWith: [{trustDomain: a, bundleEndpointURL: 'https://a/', bundleEndpointProfile: {type: https_web}}]"
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, bytes]:
    """What is kept, with some of it removed, exchanged, cut, or edited."""
    data = dict(draw(KEPT))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        found = data.get(name, b"")
        match draw(st.integers(0, 4)):
            case 0:
                data.pop(name, None)
            case 1:
                data[name] = draw(st.binary(max_size=200))
            case 2:
                data[name] = found[: draw(st.integers(0, len(found)))]
            case 3:
                at = draw(st.integers(0, len(found)))
                data[name] = found[:at] + draw(st.binary(max_size=4)) + found[at + 1 :]
            case _:
                data[name] = draw(KEPT).get(draw(st.sampled_from(NAMES)), b"")
    return data


@settings(deadline=None)
@given(data=damaged())
def test_what_is_kept_is_read_or_refused_in_words_without_a_key(data: dict[str, bytes]) -> None:
    words, kept = "", Kept()
    try:
        kept = from_data(data, DOMAIN, str)
    except StorageError as error:
        words = str(error)
    keys = [line for pem in data.values() for line in pem.splitlines() if len(line) > 30]
    assert not any(line.decode("latin-1") in words for line in keys)
    if kept.root is not None and kept.intermediate is not None:
        issuers = Issuers(kept.root, kept.intermediate, kept.rotation, kept.domains)
        again = from_data(to_data(issuers), DOMAIN, str)
        assert again.root is not None
        assert again.intermediate is not None
        assert Issuers(again.root, again.intermediate, again.rotation, again.domains).mark == issuers.mark


@given(content=st.binary(max_size=300) | st.builds(b64encode, st.binary(max_size=60)))
def test_a_report_of_anything_is_no_failure(content: bytes) -> None:
    found = read_report(content)
    marked = Report("", "", 0.0, content.decode("latin-1"))
    there = onlookers(DISTRIBUTING, {"a": found, "b": marked}, replace(Seen(), expected=frozenset({"n/p"})))
    assert there.away == ("n/p",)


@st.composite
def edited(draw: st.DrawFn, good: bytes) -> bytes:
    """A document with something in it exchanged, or anything at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    start = draw(st.integers(0, len(good)))
    return good[:start] + draw(st.binary(max_size=8)) + good[start + draw(st.integers(0, 8)) :]


@given(content=edited(BUNDLE))
def test_a_bundle_of_another_mesh_is_read_or_refused_in_words(content: bytes) -> None:
    with contextlib.suppress(BadBundle):
        bundle = read_bundle(content)
        assert bundle.refresh >= timedelta(0)
        assert bundle.roots.count("BEGIN CERTIFICATE") == bundle.roots.count("END CERTIFICATE")


@given(content=edited(PARTNERS))
def test_the_file_of_other_meshes_is_read_or_refused_in_words(content: bytes) -> None:
    with contextlib.suppress(FederationError):
        for partner in read_partners(content):
            if partner.url:
                assert endpoint(partner, "").host
