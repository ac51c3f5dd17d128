"""Promises of the StatefulSet controller and its API."""

from __future__ import annotations

from steadyset.requirements.base import API, CONCEPTS, TASKS, Requirement, issue, kep

_CONCEPT = CONCEPTS + "workloads/controllers/statefulset/"
_API = API + "workload-resources/stateful-set-v1/"
_SCALE = TASKS + "run-application/scale-stateful-set/"
_DELETE = TASKS + "run-application/delete-stateful-set/"
_FORCE = TASKS + "run-application/force-delete-stateful-set-pod/"
_RETENTION = kep(1847, "autoremove-statefulset-pvcs")
_ORDINALS = kep(3335, "statefulset-slice")
_MIN_READY = kep(2599, "minreadyseconds-for-statefulsets")
_MAX_UNAVAILABLE = kep(961, "maxunavailable-for-statefulset")
_GC = CONCEPTS + "architecture/garbage-collection/"

STATEFULSET: tuple[Requirement, ...] = (
    # Identity
    Requirement(
        "STS-ID-001",
        "A pod that is replaced keeps its ordinal, name, hostname, subdomain, claims and identity labels.",
        _CONCEPT + "#stable-network-id",
        ("stable-identity",),
    ),
    Requirement(
        "STS-ID-002",
        "A pod that is replaced finds on its volume everything that its predecessor was acknowledged.",
        _CONCEPT + "#stable-storage",
        ("set-durability", "pvc-retention"),
    ),
    Requirement(
        "STS-ID-003",
        "At most one pod of an identity runs at any time, however it is replaced.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("at-most-one-per-identity",),
    ),
    Requirement(
        "STS-ID-004",
        "Each pod is labelled with its ordinal, apps.kubernetes.io/pod-index.",
        kep(4017, "pod-index-label"),
        ("promise", "stable-identity"),
        since="1.32",
    ),
    Requirement(
        "STS-ID-005",
        "Inside each pod the hostname is the pod's name, and the pod's name in the governing Service resolves to it.",
        _CONCEPT + "#stable-network-id",
        ("promise",),
    ),
    Requirement(
        "STS-ID-006",
        "A pod without a controller that matches by name and labels is adopted, not replaced.",
        _CONCEPT + "#pod-selector",
    ),
    Requirement(
        "STS-ID-007",
        "A pod whose labels no longer match is released: its owner reference is removed, the pod stays.",
        _CONCEPT + "#pod-selector",
    ),
    Requirement(
        "STS-ID-008",
        "A forced deletion (grace 0) is followed by a pod of the same identity with the same claim and data.",
        _FORCE,
        ("stable-identity", "pvc-retention", "set-durability"),
    ),
    # Order
    Requirement(
        "STS-ORD-001",
        "OrderedReady creates a pod only while all its predecessors are Running and Ready.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("ordered-recovery",),
    ),
    Requirement(
        "STS-ORD-002",
        "A scale-up halts while a member is not Ready, and goes on when it is.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("promise", "ordered-recovery"),
    ),
    Requirement(
        "STS-ORD-003",
        "A scale-down deletes pods from the highest ordinal, each only when its successors are completely gone.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("ordered-recovery",),
    ),
    Requirement(
        "STS-ORD-004",
        "A scale-down halts while a predecessor that stays is not Ready, and goes on when it is.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("promise", "scale-down-halts"),
    ),
    Requirement(
        "STS-ORD-005",
        "A pod that is deleted while a later one is not Ready is created again: no deadlock.",
        issue(38418),
        ("recovery", "ordered-recovery"),
    ),
    Requirement(
        "STS-ORD-006",
        "Under Parallel no creation and no deletion waits for another pod, also beside unready ones.",
        _CONCEPT + "#parallel-pod-management",
        ("parallel-burst", "promise"),
    ),
    Requirement(
        "STS-ORD-007",
        "A pod that has failed, as when its node rejects or evicts it, is deleted and created again as itself.",
        _CONCEPT,
        ("stable-identity", "recovery"),
    ),
    Requirement(
        "STS-ORD-008",
        "A successor is created only when its predecessor has been Ready for minReadySeconds.",
        _MIN_READY,
        ("min-ready-seconds",),
    ),
    Requirement(
        "STS-ORD-009",
        "availableReplicas counts the pods that have been Ready for minReadySeconds, and follows its changes.",
        _MIN_READY,
    ),
    Requirement(
        "STS-ORD-010",
        "A StatefulSet that is scaled to zero and back has the same identities with the same claims and data.",
        _SCALE,
        ("stable-identity", "pvc-retention", "set-durability", "ordered-recovery"),
    ),
    Requirement(
        "STS-ORD-011",
        "Two hundred StatefulSets of three that start at once keep their order, every one.",
        _CONCEPT + "#deployment-and-scaling-guarantees",
        ("ordered-recovery",),
    ),
    Requirement(
        "STS-ORD-012",
        "Pods of a StatefulSet start at spec.ordinals.start, and follow its increase, decrease and removal.",
        _ORDINALS,
        since="1.31",
    ),
    # Updates
    Requirement(
        "STS-UPD-001",
        "A rolling update replaces pods from the highest ordinal to the lowest, each once the one before is Ready.",
        _CONCEPT + "#rolling-updates",
        ("rolling-update",),
    ),
    Requirement(
        "STS-UPD-002",
        "status.currentRevision and updateRevision differ during an update and agree when it is complete.",
        _API + "#StatefulSetStatus",
    ),
    Requirement(
        "STS-UPD-003",
        "A template that equals an earlier revision is that revision again: a rollback makes no new one.",
        _CONCEPT + "#revision-history",
    ),
    Requirement(
        "STS-UPD-004",
        "Pods below spec.updateStrategy.rollingUpdate.partition are not updated.",
        _CONCEPT + "#partitions",
        ("rolling-update", "promise"),
    ),
    Requirement(
        "STS-UPD-005",
        "A pod that is deleted comes back at the current revision below the partition, at the update revision above.",
        _CONCEPT + "#partitions",
        ("rolling-update", "promise"),
    ),
    Requirement(
        "STS-UPD-006",
        "Lowering the partition step by step updates one more pod each time, until the update is complete.",
        _CONCEPT + "#partitions",
        ("rolling-update", "promise"),
    ),
    Requirement(
        "STS-UPD-007",
        "Under OnDelete the controller updates no pod by itself; a deleted one comes back at the update revision.",
        _CONCEPT + "#update-strategies",
        ("rolling-update", "promise"),
    ),
    Requirement(
        "STS-UPD-008",
        "A rolling update has at most maxUnavailable pods unavailable at once, and uses that allowance.",
        _MAX_UNAVAILABLE,
        ("rolling-update", "promise"),
        since="1.35",
    ),
    Requirement(
        "STS-UPD-009",
        "At most spec.revisionHistoryLimit revisions that no pod uses are kept.",
        _CONCEPT + "#revision-history",
    ),
    Requirement(
        "STS-UPD-010",
        "After a revision that never gets Ready is reverted, deleting its pod lets the rollout complete.",
        _CONCEPT + "#forced-rollback",
        ("recovery", "promise"),
    ),
    Requirement(
        "STS-UPD-011",
        "Each podManagementPolicy updates by each updateStrategy with its data intact.",
        _CONCEPT + "#update-strategies",
        ("rolling-update", "set-durability", "promise"),
    ),
    # Claims
    Requirement(
        "STS-RET-001",
        "By default the claims of pods that were scaled away, and of a deleted StatefulSet, stay with their data.",
        _CONCEPT + "#persistentvolumeclaim-retention",
        ("retention-policy", "promise", "set-durability"),
    ),
    Requirement(
        "STS-RET-002",
        "whenDeleted: Delete makes the StatefulSet own its claims, and its deletion deletes them.",
        _RETENTION,
        since="1.32",
    ),
    Requirement(
        "STS-RET-003",
        "whenScaled: Delete deletes the claims of the pods scaled away, once these are gone, and no others.",
        _RETENTION,
        ("retention-policy", "promise"),
        since="1.32",
    ),
    Requirement(
        "STS-RET-004",
        "A claim that another controller owns is not deleted by whenScaled: Delete.",
        _RETENTION,
        since="1.32",
    ),
    Requirement(
        "STS-RET-005",
        "The retention policy also holds for pods that were orphaned and adopted again.",
        _RETENTION,
        since="1.32",
    ),
    Requirement(
        "STS-RET-006",
        "A claim's owner references follow the retention policy, and those of other owners stay as they are.",
        issue(122400),
        since="1.32",
    ),
    Requirement(
        "STS-RET-007",
        "A claim that is missing while its pod is pending is created again.",
        issue(74374),
        ("promise", "recovery"),
    ),
    # The API
    Requirement(
        "STS-API-001",
        "The scale subresource reads and changes the number of replicas.",
        _API + "#operations",
    ),
    Requirement(
        "STS-API-002",
        "StatefulSets can be listed by label, patched, and deleted as a collection.",
        _API + "#operations",
    ),
    Requirement(
        "STS-API-003",
        "The status subresource can be read, replaced and patched, and every change is seen by a watch.",
        _API + "#operations",
    ),
    Requirement(
        "STS-API-004",
        "Selector, serviceName, podManagementPolicy and volumeClaimTemplates cannot be changed.",
        _API + "#StatefulSetSpec",
    ),
    # Deletion
    Requirement(
        "STS-DEL-001",
        "Deleted with propagation Orphan, a StatefulSet leaves its pods running; one of the same name adopts them.",
        _DELETE,
    ),
    Requirement(
        "STS-DEL-002",
        "Deleted in the background, a StatefulSet goes at once and its pods after it.",
        _GC + "#background-deletion",
    ),
    Requirement(
        "STS-DEL-003",
        "Deleted in the foreground, a StatefulSet goes only when its pods are gone.",
        _GC + "#foreground-deletion",
    ),
)
