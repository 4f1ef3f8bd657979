"""What `weft check` looks at: this machine, the control plane, the Problems, the proxies. Each line is a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.client import AdminClient, Unreachable
from local.requirements import requirements
from local.state import problems as cluster_problems
from local.state import running


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that holds or does not, and how to mend it."""

    ok: bool
    sentence: str
    hint: str = ""


def checks(admin: AdminClient, cluster: str) -> list[Line]:
    """All lines, the machine's first, then those of the local cluster of this name where it runs."""
    return [*machine(), *(local_cluster(cluster) if running(cluster) else ()), *control_plane(admin)]


def machine() -> Iterator[Line]:
    """Whether `weft up` can work here."""
    for requirement in requirements():
        yield Line(requirement.met, requirement.sentence, requirement.hint)


def local_cluster(name: str) -> Iterator[Line]:
    """What of the manifests the local cluster can't run."""
    found = cluster_problems(name)
    if not found:
        yield Line(True, f"The local cluster {name} runs everything its manifests ask for")
    for problem in found:
        yield Line(False, str(problem), "the other pods run; mend the manifest and it is tried again")


def control_plane(admin: AdminClient) -> Iterator[Line]:
    """Whether the running mesh is well; one line when none runs."""
    try:
        ready = admin.get("/readyz")
    except Unreachable as error:
        sentence = str(error)
        yield Line(False, sentence[0].upper() + sentence[1:], "start one with `weft up PATH` or `weft run PATH`")
        return
    yield Line(bool(ready["ready"]), "The control plane answers and has published a configuration")
    yield Line(
        not ready["failure"],
        "The newest change was translated without a failure of ours" + _because(ready["failure"]),
        "the last good configuration stays in force; please report this with the log of the control plane",
    )
    yield from problems(admin.get("/problems"))
    yield from proxies(admin.get("/proxies"))


def problems(found: list[dict[str, Any]]) -> Iterator[Line]:
    """One line when all objects are right, else one for each that is not."""
    errors = [problem for problem in found if problem["severity"] == "error"]
    if not errors:
        yield Line(True, "All objects that were read are right")
    for problem in errors:
        where = f"{problem['kind']} {problem['namespace']}/{problem['name']} {problem['field']}".strip()
        file = f"{problem['file']}:{problem['line']}" if problem["file"] else "the object"
        yield Line(False, f"{where}: {problem['message']}", f"mend {file}; rule {problem['rule']} in docs/smi.md")


def proxies(found: list[dict[str, Any]]) -> Iterator[Line]:
    """Whether every connected proxy has taken what it was sent."""
    rejecting = [
        (proxy["node"], kind, state)
        for proxy in found
        for kind, state in proxy["types"].items()
        if state["state"] == "rejected"
    ]
    if not rejecting:
        yield Line(True, f"All {len(found)} connected proxies have accepted what they were sent")
    for node, kind, state in rejecting:
        yield Line(False, f"{node} rejected {kind}: {state['error']}", "the rest of its configuration is in force")


def _because(failure: str) -> str:
    return f": {failure}" if failure else ""
