"""What providers hand us and what is kept about their roots, bent: refused in words, never by a failure."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.providers.handed_over import NAMES, read_handed
from ca.providers.provider import ProviderError
from ca.providers.trust import Entry, Record, judge, read_record
from ca.reports import NOTHING_SEEN
from ca.storage import StorageError
from company_ca import company_root
from fake_clock import START

COMPANY = company_root("company root", START)
FILES = COMPANY.below("company", START).handed_over()
RECORD = msgspec.json.encode(Record((Entry(COMPANY.pem.decode(), START),), 60.0))


def bent(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with a piece replaced by something else."""
    places = st.integers(0, len(content))
    return st.builds(
        lambda start, end, piece: content[: min(start, end)] + piece + content[max(start, end) :],
        places, places, st.binary(max_size=40),
    )  # fmt: skip


@given(st.fixed_dictionaries({}, optional={name: bent(FILES[name]) | st.just(FILES[name]) for name in NAMES}))
@settings(deadline=None, max_examples=150)
def test_files_that_were_handed_over_are_an_issuer_or_are_refused_in_words(files: dict[str, bytes]) -> None:
    said = ""
    try:
        found = read_handed(files, "cluster.local", START)
    except ProviderError as error:
        said = str(error)
    if said:
        assert any(name in said for name in NAMES)
        assert "PRIVATE" not in said
    else:
        assert found.issuer.key.public_key() == found.issuer.certificate.public_key()


@given(bent(RECORD))
@settings(deadline=None, max_examples=150)
def test_a_record_of_roots_can_be_used_or_is_refused_in_words(content: bytes) -> None:
    with contextlib.suppress(StorageError):
        record = read_record(content, "the record")
        judged = judge(record, None, {}, NOTHING_SEEN, timedelta(hours=1), START)
        assert judged.record.roots is not None
