"""What stands where issuers and roots are kept, as `hostile_bytes.Parser`s: files, Secrets, reports of replicas.

Rule: it is used as it was meant, or refused in words that hold no key.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
from hypothesis import strategies as st

from ca.domains import Domains, begun
from ca.issuers import make_intermediate, make_root
from ca.keeping import NAMES, Kept, from_data, to_data
from ca.providers.handed_over import NAMES as HANDED_NAMES
from ca.providers.handed_over import read_handed
from ca.providers.provider import ProviderError
from ca.providers.trust import Entry, Record, judge, read_record
from ca.reports import NOTHING_SEEN, Report, Seen, onlookers, read_report
from ca.rotation import Action, Step
from ca.settling import DEFAULT_LIFETIMES, Issuers, carry_out, carry_out_change
from ca.storage import StorageError
from company_ca import company_root
from fake_clock import START
from hostile_bytes import Parser, as_json, edited, reshaped

DOMAIN = "cluster.local"
DAY = timedelta(days=1)
_ROOT = make_root(DOMAIN, START, 100 * DAY)
_STEADY = Issuers(_ROOT, make_intermediate(_ROOT, DOMAIN, START, 10 * DAY))


def _after(action: Action, issuers: Issuers) -> Issuers:
    return carry_out(Step(action, "asked"), issuers, DOMAIN, DEFAULT_LIFETIMES, START)


_DISTRIBUTING = _after(Action.PREPARE_ROOT, _STEADY)
_DRAINING = _after(Action.SIGN_WITH_NEXT, _DISTRIBUTING)
_RENAMING = replace(_STEADY, domains=begun(Domains(DOMAIN), "shop.example", timedelta(hours=1), START))
_RENAMED = carry_out_change(Step(Action.SIGN_NEXT_DOMAIN, "asked"), _RENAMING, DEFAULT_LIFETIMES, START)
_KEPT = [to_data(each) for each in (_STEADY, _DISTRIBUTING, _DRAINING, _RENAMING, _RENAMED)]


def kept(files: dict[str, bytes]) -> None:
    """Issuers in a folder or a Secret: what is read is written again as it was."""
    words, found = "", Kept()
    try:
        found = from_data(files, DOMAIN, str)
    except StorageError as error:
        words = str(error)
    keys = [line for content in files.values() for line in content.splitlines() if len(line) > 30]
    assert not any(line.decode("latin-1") in words for line in keys)
    if found.root is not None and found.intermediate is not None:
        issuers = Issuers(found.root, found.intermediate, found.rotation, found.domains)
        again = from_data(to_data(issuers), DOMAIN, str)
        assert again.root is not None
        assert again.intermediate is not None
        assert Issuers(again.root, again.intermediate, again.rotation, again.domains).mark == issuers.mark


_COMPANY = company_root("company root", START)
_HANDED = _COMPANY.below("company", START).handed_over()


def handed(files: dict[str, bytes]) -> None:
    """An intermediate that a person handed over."""
    words = ""
    try:
        found = read_handed(files, DOMAIN, START)
        assert found.issuer.key.public_key() == found.issuer.certificate.public_key()
    except ProviderError as error:
        words = str(error)
        assert any(name in words for name in HANDED_NAMES)
    assert "PRIVATE" not in words


@st.composite
def _files(draw: st.DrawFn, good: list[dict[str, bytes]], names: tuple[str, ...]) -> dict[str, bytes]:
    """Files with edits, without some, or exchanged."""
    made = dict(draw(st.sampled_from(good)))
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        match draw(st.integers(0, 3)):
            case 0:
                made.pop(name, None)
            case 1:
                made[name] = draw(st.sampled_from(good)).get(draw(st.sampled_from(names)), b"")
            case _:
                made[name] = draw(edited([made.get(name, b"")]))
    return made


_RECORD = msgspec.json.encode(Record((Entry(_COMPANY.pem.decode(), START, held=True),), 60.0))
_REPORT = msgspec.json.encode(Report("bundle", "root", 60.0, "", ("shop/web-1",), 3))


def record(content: bytes) -> None:
    """What replicas write down of a provider's roots."""
    try:
        found = read_record(content, "the record")
    except StorageError:
        return
    judged = judge(found, None, {}, NOTHING_SEEN, timedelta(hours=1), START)
    assert len(judged.record.roots) == len(judged.record.entries)


def report(content: bytes) -> None:
    """What a replica reports of its proxies: nonsense is a replica of which nothing is known."""
    marked = Report("", "", 0.0, content.decode("latin-1"))
    seen = replace(Seen(), expected=frozenset({"n/p"}))
    assert onlookers(_DISTRIBUTING, {"a": read_report(content), "b": marked}, seen).away == ("n/p",)


PARSERS = (
    Parser("kept-issuers", _files(_KEPT, NAMES), kept, 1),
    Parser("handed-over-issuers", _files([_HANDED], HANDED_NAMES), handed, 2),
    Parser("records-of-roots", edited([_RECORD]) | as_json(reshaped([json.loads(_RECORD)])), record, 3),
    Parser("reports-of-replicas", edited([_REPORT]) | as_json(reshaped([json.loads(_REPORT)])), report, 3),
)
