"""What the tests of the CA share: a folder that does not exist yet, and a clock that stands still."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_clock import FakeClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ca"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
