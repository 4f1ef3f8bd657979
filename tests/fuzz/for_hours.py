"""The parsers of tests/fuzz for as long as wanted: `make fuzz SECONDS=3600`.

Rule: the inputs are those of the tests, from a new seed every round. What fails is written down with its seed, once for
each place it fails at, and the others go on; the table at the end says how many inputs each parser had.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from hostile_bytes import Parser
from parsers import PARSERS

IN_A_ROUND = 100
"""Inputs of the dearest parser; cheaper ones have more."""


class Tally:
    """What was tried so far, and what was found."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._known: set[str] = set()
        self.tried: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.found: Counter[str] = Counter()

    def round(self, parser: Parser, number: int) -> None:
        """Some inputs for one parser."""

        @settings(
            max_examples=IN_A_ROUND * parser.weight, deadline=None, database=None, print_blob=False,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], report_multiple_bugs=False,
        )  # fmt: skip
        @seed(number)
        @given(value=parser.inputs)
        def reads(value: Any) -> None:
            self.tried[parser.name] += 1
            parser(value)

        began = time.process_time()
        try:
            reads()
        except Exception as error:
            self._found(parser, number, error)
        self.seconds[parser.name] += round(time.process_time() - began, 3)  # type: ignore[assignment]

    def _found(self, parser: Parser, number: int, error: Exception) -> None:
        self.found[parser.name] += 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{parser.name}: {type(error).__name__} at {last.filename}:{last.lineno}"
        if place not in self._known:
            self._known.add(place)
            with self._log.open("a") as log:
                log.write(f"== {place}, seed {number}\n{''.join(traceback.format_exception(error))}\n")
            print(f"FOUND {place}", flush=True)

    def table(self) -> str:
        """As Markdown."""
        lines = ["| parser | inputs | seconds of the processor | rounds that failed |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {self.tried[name]:,} | {self.seconds[name]:.0f} | {self.found[name]} |" for name in self.tried
        ]
        total = f"| all | {self.tried.total():,} | {self.seconds.total():.0f} | {self.found.total()} |"
        return "\n".join([*lines, total])


def main() -> int:
    """Try until the time is over; 1 where anything was found."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=60, help="how long, by the clock on the wall")
    asked.add_argument("--only", action="append", help="a parser; may be repeated")
    asked.add_argument("--log", type=Path, default=Path("fuzz-findings.txt"), help="where findings are written")
    options = asked.parse_args()
    chosen = [parser for parser in PARSERS if not options.only or parser.name in options.only]
    tally, end, told = Tally(options.log), time.monotonic() + options.seconds, time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while time.monotonic() < end:
            number = random.getrandbits(64)
            for parser in chosen:
                tally.round(parser, number)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"{end - told:.0f} s to go, {tally.tried.total():,} inputs", flush=True)
    except KeyboardInterrupt:
        print("ended before the time was over")
    print(tally.table())
    return 1 if tally.found else 0


if __name__ == "__main__":
    sys.exit(main())
