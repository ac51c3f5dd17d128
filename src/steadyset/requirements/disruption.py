"""Promises that hold while parts of the cluster are down; each is checked on a StatefulSet with data."""

from __future__ import annotations

from steadyset.requirements.base import CONCEPTS, TASKS, Requirement

_NODE = CONCEPTS + "architecture/nodes/"
_SHUTDOWN = CONCEPTS + "cluster-administration/node-shutdown/"
_CONTROLLER = CONCEPTS + "architecture/controller/"
_STS = CONCEPTS + "workloads/controllers/statefulset/"

DISRUPTION: tuple[Requirement, ...] = (
    Requirement(
        "DIS-KUB-001",
        "A restart of the kubelet touches no running pod and no mounted volume.",
        TASKS + "administer-cluster/kubeadm/kubeadm-upgrade/",
        ("stable-identity", "rwo-single-node", "set-durability", "promise"),
    ),
    Requirement(
        "DIS-RUN-001",
        "A restart of the container runtime touches no running container and no mounted volume.",
        CONCEPTS + "architecture/cri/",
        ("stable-identity", "rwo-single-node", "set-durability", "promise"),
    ),
    Requirement(
        "DIS-RBT-001",
        "The pods of a node that reboots without warning come back as themselves, with what they had acknowledged.",
        _NODE + "#condition",
        ("stable-identity", "set-durability", "rwo-single-node"),
    ),
    Requirement(
        "DIS-RBT-002",
        "A graceful shutdown of a node ends its pods in order of priority before the node goes.",
        _SHUTDOWN + "#graceful-node-shutdown",
        open="a kubelet learns of it from logind only, which the embedded cluster's nodes lack",
    ),
    Requirement(
        "DIS-OFF-001",
        "Without a word from an administrator no second pod of an identity is made while its node is silent.",
        _STS + "#deployment-and-scaling-guarantees",
        ("at-most-one-per-identity", "set-durability", "promise"),
    ),
    Requirement(
        "DIS-OFF-002",
        "Once a node without power is tainted out of service, its members run elsewhere, with their volumes and data.",
        _SHUTDOWN + "#non-graceful-node-shutdown",
        ("stable-identity", "set-durability", "promise"),
    ),
    Requirement(
        "DIS-DEL-001",
        "The pods of a node whose object is deleted are replaced by pods of the same identities and data.",
        _NODE + "#management",
        ("stable-identity", "set-durability"),
    ),
    Requirement(
        "DIS-CTL-001",
        "A rollout goes on where it was when the API server restarts.",
        _CONTROLLER,
        ("rolling-update", "stable-identity", "set-durability"),
    ),
    Requirement(
        "DIS-CTL-002",
        "A rollout goes on where it was when the controller manager restarts.",
        _CONTROLLER,
        ("rolling-update", "stable-identity", "set-durability"),
    ),
    Requirement(
        "DIS-CTL-003",
        "A rollout goes on where it was when etcd restarts.",
        _CONTROLLER,
        ("rolling-update", "stable-identity", "set-durability"),
    ),
    Requirement(
        "DIS-CTL-004",
        "A rollout goes on where it was when the scheduler restarts.",
        _CONTROLLER,
        ("rolling-update", "stable-identity", "set-durability"),
    ),
)
