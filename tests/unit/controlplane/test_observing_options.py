"""Options about traces and logs: a mistake is said at once, and `weft up` hands on what `weft run` understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from controlplane.cli import observing
from controlplane.cli.main import command_line


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command configures the process's logging, to a stream that goes with the test."""
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("command", ["run", "up"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trace-collector", "jaeger:4317"], "'jaeger:4317' is no collector"),
        (["--log-collector", "zipkin://jaeger"], "is not otlp://HOST:PORT"),
        (["--trace-collector", "otlp://jaeger", "--trace-sampling", "101"], "Invalid value"),
    ],
)
def test_a_collector_that_is_none_ends_the_command_with_words(
    command: str, words: list[str], said: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(command_line([command]), [command, str(tmp_path), *words])
    assert result.exit_code == 2
    assert said in result.output


def test_what_is_handed_on_is_what_was_given() -> None:
    assert observing.handed_on("", 5.0, "") == []
    assert observing.handed_on("zipkin://jaeger", 5.0, "otlp://logs") == [
        "--trace-collector", "zipkin://jaeger", "--trace-sampling", "5.0", "--log-collector", "otlp://logs",
    ]  # fmt: skip
