"""Promises about claims, volumes and their attachment."""

from __future__ import annotations

from steadyset.requirements.base import CONCEPTS, TASKS, Requirement, kep

_PV = CONCEPTS + "storage/persistent-volumes/"
_SC = CONCEPTS + "storage/storage-classes/"
_VOL = CONCEPTS + "storage/volumes/"
_RWOP = kep(2485, "read-write-once-pod-pv-access-mode", "sig-storage")
_RECOVER = kep(1790, "recover-resize-failure", "sig-storage")

STORAGE: tuple[Requirement, ...] = (
    Requirement(
        "STO-PRV-001",
        "A claim gets a new volume of its class, in its access mode and of at least its size.",
        _PV + "#dynamic",
        ("promise", "set-durability"),
    ),
    Requirement(
        "STO-BND-001",
        "With volumeBindingMode Immediate a claim is bound without any pod.",
        _SC + "#volume-binding-mode",
    ),
    Requirement(
        "STO-BND-002",
        "With volumeBindingMode WaitForFirstConsumer a claim is bound once a pod wants it, where that pod may run.",
        _SC + "#volume-binding-mode",
    ),
    Requirement(
        "STO-CLS-001",
        "A claim that names no class is of the cluster's default one.",
        _SC + "#default-storageclass",
    ),
    Requirement(
        "STO-CLS-002",
        'A claim of class "" is never given a new volume.',
        _PV + "#class-1",
    ),
    Requirement(
        "STO-CLS-003",
        "Parameters that the driver refuses provision nothing, and the claim says so.",
        _SC + "#parameters",
    ),
    Requirement(
        "STO-STA-001",
        "A claim binds to the smallest free volume that is large enough and of its class and mode.",
        _PV + "#binding",
    ),
    Requirement(
        "STO-STA-002",
        "A volume that is reserved by its claimRef is bound to no other claim.",
        _PV + "#reserving-a-persistentvolume",
    ),
    Requirement(
        "STO-CLM-001",
        "A pod waits for a claim that does not exist yet.",
        _PV + "#claims-as-volumes",
    ),
    Requirement(
        "STO-ACC-001",
        "A ReadWriteOnce volume is on one node at a time; pods of that node may share it.",
        _PV + "#access-modes",
        ("promise", "rwo-single-node"),
    ),
    Requirement(
        "STO-ACC-002",
        "A ReadWriteOncePod volume is used by one pod at a time in the whole cluster.",
        _RWOP,
    ),
    Requirement(
        "STO-ACC-003",
        "A ReadWriteMany volume is written by pods of several nodes at the same time.",
        _PV + "#access-modes",
        ("promise", "set-durability"),
    ),
    Requirement(
        "STO-ACC-004",
        "A ReadOnlyMany volume is read by pods of several nodes at the same time.",
        _PV + "#access-modes",
    ),
    Requirement(
        "STO-ACC-005",
        "A ReadOnlyMany volume is written by nobody.",
        _PV + "#access-modes",
    ),
    Requirement(
        "STO-ACC-006",
        "A claim in an access mode that the driver does not have gets no volume, and says why.",
        _PV + "#access-modes",
    ),
    Requirement(
        "STO-REC-001",
        "With reclaim policy Delete the volume and the storage behind it go with the claim.",
        _PV + "#delete",
    ),
    Requirement(
        "STO-REC-002",
        "With reclaim policy Retain a volume keeps its data after its claim is gone.",
        _PV + "#retain",
        ("promise", "set-durability"),
    ),
    Requirement(
        "STO-REC-003",
        "A released volume is not available to another claim until its claimRef is removed.",
        _PV + "#retain",
    ),
    Requirement(
        "STO-REC-004",
        "A volume follows the reclaim policy that it has, not the one that its class had.",
        TASKS + "administer-cluster/change-pv-reclaim-policy/",
    ),
    Requirement(
        "STO-PRO-001",
        "A claim that a pod uses outlives its deletion until no pod uses it.",
        _PV + "#storage-object-in-use-protection",
    ),
    Requirement(
        "STO-PRO-002",
        "A volume that is bound outlives its deletion until its claim is gone.",
        _PV + "#storage-object-in-use-protection",
    ),
    Requirement(
        "STO-EXP-001",
        "A volume grows under its running pod, without a restart and without loss.",
        _PV + "#resizing-an-in-use-persistentvolumeclaim",
        ("promise", "set-durability"),
    ),
    Requirement(
        "STO-EXP-002",
        "A volume whose file system cannot grow while mounted grows when its pod is replaced.",
        _PV + "#resizing-a-volume-containing-a-file-system",
        ("promise", "set-durability"),
    ),
    Requirement(
        "STO-EXP-003",
        "A claim is never made smaller than it is.",
        _PV + "#expanding-persistent-volumes-claims",
    ),
    Requirement(
        "STO-EXP-004",
        "A claim grows only if its class allows volume expansion.",
        _PV + "#expanding-persistent-volumes-claims",
    ),
    Requirement(
        "STO-EXP-005",
        "An expansion that the storage refuses is taken back by asking for less.",
        _RECOVER,
        since="1.34",
    ),
    Requirement(
        "STO-ATT-001",
        "A volume follows its pod from node to node, with its data.",
        _PV + "#lifecycle-of-a-volume-and-claim",
        ("rwo-single-node", "set-durability"),
    ),
    Requirement(
        "STO-ATT-002",
        "A volume that is attached to a node is attached to a second one only after the first let go.",
        _PV + "#access-modes",
        ("promise", "rwo-single-node"),
    ),
    Requirement(
        "STO-ATT-003",
        "A volume is unmounted before it is detached.",
        _VOL,
        ("rwo-single-node",),
    ),
    Requirement(
        "STO-LOC-001",
        "A pod whose volume only one node reaches is scheduled to that node, always.",
        _PV + "#node-affinity",
    ),
    Requirement(
        "STO-LOC-002",
        "A local volume is bound only once its pod is scheduled, and its pod to the volume's node.",
        _VOL + "#local",
    ),
)
