"""What an account must be allowed to do, and what of it it may not: asked of the API server itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec

from steadyset.chaos.kube import Kube
from steadyset.chaos.reach import at_once

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Right(msgspec.Struct, frozen=True):
    """One thing that is done in a cluster; `namespaced` ones are needed in the namespaces that it is done in only.

    `space` is that namespace where it is not the target's.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    namespaced: bool = True
    subresource: str = ""
    space: str = ""

    def __str__(self) -> str:
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{'/'.join(self.verbs)} {name}{'.' + self.group if self.group else ''}"


# What every fault does before it does anything, and what those with something to undo write ahead.
LOOK = (
    Right("", "namespaces", ("get",), "see whether the namespace is open to faults", namespaced=False),
    Right("", "pods", ("get", "list"), "find the target and its workload"),
    Right("", "configmaps", ("get", "list"), "see whether faults are stopped, and which are live"),
)
LOOK_AT_NODES = (Right("", "nodes", ("get", "list"), "see how many nodes are out of order", namespaced=False),)
LEDGER = (Right("", "configmaps", ("create", "patch", "delete"), "undo ledger"),)


def lacking(kube: Kube, rights: Iterable[Right], namespaces: Iterable[str]) -> list[Right]:
    """Those of `rights` that the account does not have in one of `namespaces`, with the verbs it lacks.

    Source: SelfSubjectAccessReview, which the authorizers themselves answer.
    """
    places, asked = list(namespaces), list(rights)
    questions = [
        (right, verb, space)
        for right in asked
        for verb in right.verbs
        for space in ([right.space] if right.space else places if right.namespaced else [""])
    ]
    answers = at_once([partial(_allowed, kube, *question) for question in questions])
    refused = {(right, verb) for (right, verb, _), yes in zip(questions, answers, strict=True) if not yes}
    found = [(right, tuple(v for v in right.verbs if (right, v) in refused)) for right in asked]
    return [msgspec.structs.replace(right, verbs=verbs) for right, verbs in found if verbs]


def _allowed(kube: Kube, right: Right, verb: str, namespace: str) -> bool:
    attributes = {
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "verb": verb,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(kube.request("POST", REVIEWS, body).get("status", {}).get("allowed"))
