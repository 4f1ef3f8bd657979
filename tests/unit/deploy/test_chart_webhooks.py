"""The webhook configurations: who is asked about, and that an outage of ours holds up nobody else (decision 0065)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from chart_documents import Document, one, rendered

SERVER = Path(__file__).parents[3] / "webhook" / "server.py"
SYSTEM = {"kube-system", "kube-public", "kube-node-lease"}
MARKS: Document = {"injector": {"otherMeshesMarks": True}}


def hooks(values: Document | None = None, namespace: str = "weft-system") -> list[Document]:
    documents = rendered(values, namespace)
    kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    return [hook for kind in kinds for hook in one(documents, kind, "weft-webhook")["webhooks"]]


def selected(selector: Document, labels: dict[str, str]) -> bool:
    """metav1.LabelSelector, as the API server reads it."""
    return all(
        _holds(item["operator"], labels.get(item["key"]), item.get("values") or ())
        for item in selector.get("matchExpressions", [])
    )


def _holds(operator: str, value: str | None, wanted: Sequence[str]) -> bool:
    if operator in {"Exists", "DoesNotExist"}:
        return (value is not None) is (operator == "Exists")
    return (value in wanted) is (operator == "In")


def asked(namespace: str, label: str | None, pod: str | None, values: Document | None = None) -> set[tuple[str, str]]:
    """The path and the fail policy of each entry that a pod is asked about by."""
    of_namespace = {"kubernetes.io/metadata.name": namespace} | ({"weft.dev/inject": label} if label else {})
    of_pod = {"weft.dev/inject": pod} if pod else {}
    return {
        (hook["clientConfig"]["service"]["path"], hook["failurePolicy"])
        for hook in hooks(values)
        if hook["rules"][0]["resources"] == ["pods"]
        and selected(hook["namespaceSelector"], of_namespace)
        and selected(hook.get("objectSelector", {}), of_pod)
    }


@pytest.mark.parametrize("namespace", [*sorted(SYSTEM), "weft-system"])
@pytest.mark.parametrize("label", [None, "enabled"])
@pytest.mark.parametrize("pod", [None, "enabled"])
@pytest.mark.parametrize("values", [{}, MARKS], ids=["plain", "marks"])
def test_no_outage_holds_up_the_systems_pods_or_our_own(
    namespace: str, label: str | None, pod: str | None, values: Document
) -> None:
    assert "Fail" not in {policy for _, policy in asked(namespace, label, pod, values)}


@pytest.mark.parametrize(
    ("label", "pod", "is_asked"),
    [
        ("enabled", None, True),
        ("enabled", "enabled", True),
        ("enabled", "disabled", False),
        (None, "enabled", True),
        ("disabled", "enabled", True),
        (None, None, False),
        ("disabled", None, False),
    ],
)
def test_the_pods_label_goes_before_the_namespaces(label: str | None, pod: str | None, is_asked: bool) -> None:
    assert asked("shop", label, pod) == ({("/inject", "Fail")} if is_asked else set())


def test_marks_of_other_meshes_never_hold_a_pod_up() -> None:
    assert asked("shop", None, None, MARKS) == {("/inject/marks", "Ignore")}
    assert asked("shop", "enabled", None, MARKS) == {("/inject", "Fail")}


def test_no_pod_is_asked_about_twice() -> None:
    for label in (None, "enabled", "disabled"):
        for pod in (None, "enabled", "disabled"):
            assert len(asked("shop", label, pod, MARKS)) <= 1


def test_excluded_namespaces_are_never_asked_about() -> None:
    values = {"admission": {"excludedNamespaces": ["monitoring"]}}
    assert asked("monitoring", "enabled", "enabled", values) == set()


def test_fail_policy_and_timeout_are_the_users() -> None:
    chosen = {"admission": {"injectFailurePolicy": "Ignore", "validateFailurePolicy": "Ignore", "timeoutSeconds": 4}}
    assert {hook["failurePolicy"] for hook in hooks(chosen)} == {"Ignore"}
    assert {hook["timeoutSeconds"] for hook in hooks(chosen)} == {4, 3, 1}


def test_every_path_is_one_that_the_webhook_serves() -> None:
    served = set(re.findall(r'@api\.post\("([^"]+)"\)', SERVER.read_text()))
    assert {hook["clientConfig"]["service"]["path"] for hook in hooks(MARKS)} | {"/convert"} == served


def test_asking_has_no_side_effects_so_dry_runs_work() -> None:
    assert {hook["sideEffects"] for hook in hooks(MARKS)} == {"None"}
