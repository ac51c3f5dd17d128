"""What Kubernetes promises to stateful workloads, one entry for each promise that a test can break."""

from __future__ import annotations

import re
from dataclasses import dataclass

ID = re.compile(r"[A-Z]{3,4}-[A-Z]{2,5}-\d{3}")
API = "https://kubernetes.io/docs/reference/kubernetes-api/"
CONCEPTS = "https://kubernetes.io/docs/concepts/"
TASKS = "https://kubernetes.io/docs/tasks/"


def kep(number: int, slug: str, sig: str = "sig-apps") -> str:
    """Link to a Kubernetes enhancement proposal."""
    return f"https://github.com/kubernetes/enhancements/tree/master/keps/{sig}/{number}-{slug}"


def issue(number: int) -> str:
    """Link to an issue or pull request of kubernetes/kubernetes."""
    return f"https://github.com/kubernetes/kubernetes/issues/{number}"


@dataclass(frozen=True)
class Requirement:
    """One promise.

    `text` is the promise in one sentence, `source` where it is made, `rules` the invariants, checkers or "promise" (a
    comparison in the test) that judge it, `since` the Kubernetes version that made it without a feature gate to set.
    Which tests cover it the tests say (`pytest.mark.requirement`); `open` says why none does, where none does.
    """

    id: str
    text: str
    source: str
    rules: tuple[str, ...] = ("promise",)
    since: str = "1.30"
    open: str = ""
