"""What log lines never hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from controlplane import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("json", [True, False])
def test_a_logged_failure_shows_no_local_variables(capfd: pytest.CaptureFixture[str], json: bool) -> None:
    logs.configure(json=json)
    private_key = "-----BEGIN " + "PRIVATE KEY-----"
    try:
        raise RuntimeError(f"failed with {len(private_key)} bytes in hand")
    except RuntimeError:
        structlog.get_logger().exception("something failed")
    shown = capfd.readouterr().err
    assert "failed with 27 bytes in hand" in shown
    assert private_key not in shown
