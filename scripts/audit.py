"""Looks every locked package up in the database of known vulnerabilities: `make audit`, by pip-audit.

Rule: what could not be looked up is never told as fine. 0: every package was, and none is known to be vulnerable; 1:
some are; 3: not all could be looked up, so nothing was shown. pip-audit itself ends with 0 and the words "No known
vulnerabilities found" when it could look up none (docs/decisions/0137).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
TOOL: Final = "pip-audit==2.10.1"
SHOWN: Final = 5
"""Names of packages that could not be looked up."""
FINE, VULNERABLE, NOT_LOOKED_UP = 0, 1, 3


def verdict(dependencies: list[dict[str, Any]]) -> tuple[int, str]:
    """The exit code and what people are told of pip-audit's JSON."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    found = [
        f"  {each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in dependencies
        for flaw in each.get("vulns", ())
    ]
    told = [f"{len(dependencies) - len(skipped)} of {len(dependencies)} locked packages were looked up", *found]
    if found:
        return VULNERABLE, "\n".join(["VULNERABLE: " + told[0], *told[1:]])
    if skipped or not dependencies:
        return (
            NOT_LOOKED_UP,
            f"NOT AUDITED: {told[0]}; not {', '.join(skipped[:SHOWN]) or 'a single one'}{_more(skipped)}",
        )
    return FINE, f"audited: {told[0]}, no vulnerability is known"


def _more(skipped: list[str]) -> str:
    return f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""


def audited(folder: Path) -> list[dict[str, Any]]:
    """pip-audit's findings, from a virtual environment of its own: it must not change what it looks at."""
    venv.create(folder / "venv", with_pip=True)
    tools, report = folder / "venv" / "bin", folder / "report.json"
    subprocess.run([f"{tools}/python", "-m", "pip", "install", "--quiet", TOOL], check=True)
    command = [f"{tools}/pip-audit", f"--requirement={LOCK}", "--require-hashes", "--disable-pip", "--format=json"]
    done = subprocess.run(
        [*command, "--progress-spinner=off", f"--output={report}"], stderr=subprocess.PIPE, text=True, check=False
    )
    if not report.exists():
        sys.stderr.write(f"pip-audit ended with {done.returncode}: {done.stderr[-1000:]}\n")
        return []
    found: list[dict[str, Any]] = json.loads(report.read_text())["dependencies"]
    return found


def main() -> int:
    """Tell, and end with the code."""
    with tempfile.TemporaryDirectory() as folder:
        code, words = verdict(audited(Path(folder)))
    sys.stdout.write(f"{words}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
