"""What `conftest.py` at the root promises: nobody notices too late that CI left a tier out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = {
    "test_itself.py": "import pytest\ndef test_itself():\n    pytest.skip('no envoy')\n",
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='no iptables')\ndef test_mark():\n    pass\n",
    "test_file.py": "import pytest\npytest.skip('no cluster', allow_module_level=True)\n",
    "test_runs.py": "def test_runs():\n    pass\n",
}


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("true", {"1 passed", "1 failed", "2 errors"}), ("", {"1 passed", "3 skipped"})],
    ids=["on CI", "elsewhere"],
)
def test_a_skip_fails_on_ci_and_nowhere_else(tmp_path: Path, ci: str, outcome: set[str]) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    options = ["--rootdir", str(tmp_path), "-p", "no:cacheprovider", "--continue-on-collection-errors", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = run.stdout.splitlines()[-1].strip("= ")
    assert set(last.partition(" in ")[0].split(", ")) == outcome, run.stdout
    assert run.returncode == (1 if ci else 0)
    assert not ci or all(reason in run.stdout for reason in ("no envoy", "no iptables", "no cluster"))
