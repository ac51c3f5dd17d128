"""Promises about where pods run, and about who may disturb them."""

from __future__ import annotations

from steadyset.requirements.base import CONCEPTS, TASKS, Requirement

_ASSIGN = CONCEPTS + "scheduling-eviction/assign-pod-node/"
_SPREAD = CONCEPTS + "scheduling-eviction/topology-spread-constraints/"
_TAINT = CONCEPTS + "scheduling-eviction/taint-and-toleration/"
_PRIORITY = CONCEPTS + "scheduling-eviction/pod-priority-preemption/"
_PDB = TASKS + "run-application/configure-pdb/"
_EVICT = CONCEPTS + "scheduling-eviction/api-eviction/"

SCHEDULING: tuple[Requirement, ...] = (
    Requirement(
        "SCH-AFF-001",
        "Pods with required anti-affinity to each other are never on the same node.",
        _ASSIGN + "#inter-pod-affinity-and-anti-affinity",
    ),
    Requirement(
        "SCH-AFF-002",
        "A pod whose required anti-affinity no node satisfies waits until one does.",
        _ASSIGN + "#inter-pod-affinity-and-anti-affinity",
    ),
    Requirement(
        "SCH-AFF-003",
        "Preferred anti-affinity spreads pods as far as it can and never keeps one from running.",
        _ASSIGN + "#inter-pod-affinity-and-anti-affinity",
    ),
    Requirement(
        "SCH-AFF-004",
        "A pod with required affinity runs where the other pod is.",
        _ASSIGN + "#inter-pod-affinity-and-anti-affinity",
    ),
    Requirement(
        "SCH-NOD-001",
        "A pod with required node affinity runs only on nodes that match.",
        _ASSIGN + "#node-affinity",
    ),
    Requirement(
        "SCH-NOD-002",
        "A node preference that cannot be kept does not keep the pod from running.",
        _ASSIGN + "#node-affinity",
    ),
    Requirement(
        "SCH-SPR-001",
        "With whenUnsatisfiable DoNotSchedule pods are never further apart than maxSkew.",
        _SPREAD,
    ),
    Requirement(
        "SCH-SPR-002",
        "With whenUnsatisfiable ScheduleAnyway a spread constraint never keeps a pod from running.",
        _SPREAD,
    ),
    Requirement(
        "SCH-TNT-001",
        "No pod that does not tolerate the taint of a node is scheduled to it.",
        _TAINT,
    ),
    Requirement(
        "SCH-TNT-002",
        "A NoExecute taint evicts pods that do not tolerate it at once.",
        _TAINT,
    ),
    Requirement(
        "SCH-TNT-003",
        "A pod that tolerates a NoExecute taint for tolerationSeconds is evicted after them, not before.",
        _TAINT + "#taint-based-evictions",
    ),
    Requirement(
        "SCH-TNT-004",
        "A pod that tolerates a NoExecute taint without a limit stays.",
        _TAINT,
    ),
    Requirement(
        "SCH-PRE-001",
        "A pod of higher priority that finds no place evicts pods of lower priority.",
        _PRIORITY + "#preemption",
    ),
    Requirement(
        "SCH-PRE-002",
        "Preemption evicts nobody of the same or a higher priority.",
        _PRIORITY + "#preemption",
    ),
    Requirement(
        "SCH-PRE-003",
        "A pod of a class with preemptionPolicy Never evicts nobody.",
        _PRIORITY + "#non-preempting-priority-class",
    ),
    Requirement(
        "SCH-PDB-001",
        "The eviction API refuses with 429 what a budget does not allow.",
        _EVICT,
        ("promise", "pdb-respected"),
    ),
    Requirement(
        "SCH-PDB-002",
        "The eviction API allows what a budget allows, and again once the disrupted pod is back.",
        _PDB,
        ("promise", "pdb-respected"),
    ),
    Requirement(
        "SCH-PDB-003",
        "With unhealthyPodEvictionPolicy AlwaysAllow a pod that is not ready may be evicted whatever the budget.",
        _PDB + "#unhealthy-pod-eviction-policy",
    ),
    Requirement(
        "SCH-PDB-004",
        "A budget does not hinder the deletion of a pod.",
        CONCEPTS + "workloads/pods/disruptions/",
    ),
)
