"""Promises of what surrounds a StatefulSet: DaemonSets, static pods, start-up, Jobs, Leases, names."""

from __future__ import annotations

from steadyset.requirements.base import API, CONCEPTS, TASKS, Requirement, kep

_DS = CONCEPTS + "workloads/controllers/daemonset/"
_STATIC = TASKS + "configure-pod-container/static-pod/"
_INIT = CONCEPTS + "workloads/pods/init-containers/"
_JOB = CONCEPTS + "workloads/controllers/job/"
_CRON = CONCEPTS + "workloads/controllers/cron-jobs/"
_LEASE = CONCEPTS + "architecture/leases/"
_DNS = CONCEPTS + "services-networking/dns-pod-service/"
_SVC = CONCEPTS + "services-networking/service/"

WORKLOADS: tuple[Requirement, ...] = (
    Requirement(
        "DMN-ONE-001",
        "A DaemonSet runs one pod on every node that it is meant for, and a new one for each that is deleted.",
        _DS,
    ),
    Requirement(
        "DMN-ONE-002",
        "A DaemonSet's pods on nodes that it is no longer meant for are deleted.",
        _DS,
    ),
    Requirement(
        "DMN-TOL-001",
        "A DaemonSet's pods tolerate nodes that are not ready, unreachable, unschedulable or under pressure.",
        _DS + "#taints-and-tolerations",
    ),
    Requirement(
        "DMN-UPD-001",
        "A rolling update of a DaemonSet leaves no more than maxUnavailable nodes without a ready pod.",
        TASKS + "manage-daemon/update-daemon-set/",
    ),
    Requirement(
        "DMN-UPD-002",
        "With maxSurge the new pod of a node is ready before the old one is deleted.",
        kep(1591, "daemonset-surge"),
    ),
    Requirement(
        "DMN-UPD-003",
        "With OnDelete a new template reaches a node only when its pod is deleted.",
        TASKS + "manage-daemon/update-daemon-set/",
    ),
    Requirement(
        "DMN-NOD-001",
        "A node that joins gets a pod of every DaemonSet.",
        _DS,
    ),
    Requirement(
        "DMN-NOD-002",
        "The pods of a node that leaves are garbage collected.",
        CONCEPTS + "workloads/pods/pod-lifecycle/#pod-garbage-collection",
    ),
    Requirement(
        "DMN-STA-001",
        "A static pod is mirrored by a pod of the API server that bears its node's name.",
        _STATIC,
    ),
    Requirement(
        "DMN-STA-002",
        "Deleting the mirror of a static pod does not stop it.",
        _STATIC,
    ),
    Requirement(
        "DMN-STA-003",
        "Removing the file of a static pod stops it and removes its mirror.",
        _STATIC,
    ),
    Requirement(
        "DMN-STA-004",
        "Changing the file of a static pod replaces it.",
        _STATIC,
    ),
    Requirement(
        "DMN-STA-005",
        "A static pod is started again with its node, without an API server.",
        _STATIC,
    ),
    Requirement(
        "INI-ORD-001",
        "Init containers run one at a time, in their order, each to its end.",
        _INIT,
    ),
    Requirement(
        "INI-ORD-002",
        "Containers start only after every init container has succeeded.",
        _INIT,
    ),
    Requirement(
        "INI-ORD-003",
        "An init container that fails is run again until it succeeds.",
        _INIT,
    ),
    Requirement(
        "INI-ORD-004",
        "A container that restarts does not run the init containers again; a new pod does.",
        _INIT + "#detailed-behavior",
    ),
    Requirement(
        "INI-CFG-001",
        "A container does not start before the configuration that it names exists.",
        TASKS + "configure-pod-container/configure-pod-configmap/",
    ),
    Requirement(
        "JOB-RUN-001",
        "Without failures each index of an Indexed Job runs once.",
        _JOB + "#completion-mode",
    ),
    Requirement(
        "JOB-RUN-002",
        "No more pods of a Job run at a time than its parallelism.",
        _JOB + "#controlling-parallelism",
    ),
    Requirement(
        "JOB-RUN-003",
        "A Job fails after backoffLimit retries and starts no more pods.",
        _JOB + "#pod-backoff-failure-policy",
    ),
    Requirement(
        "JOB-ONE-001",
        "With podReplacementPolicy Failed a pod is replaced only once it has ended.",
        _JOB + "#pod-replacement-policy",
        since="1.34",
    ),
    Requirement(
        "JOB-CRN-001",
        "With concurrencyPolicy Forbid no run starts while the last one is at work.",
        _CRON + "#concurrency-policy",
    ),
    Requirement(
        "JOB-CRN-002",
        "A suspended CronJob starts nothing.",
        _CRON + "#schedule-suspension",
    ),
    Requirement(
        "LSE-ACQ-001",
        "Of several writers of one version of a Lease exactly one succeeds.",
        _LEASE,
    ),
    Requirement(
        "LSE-ACQ-002",
        "A writer of a stale version of a Lease gets a conflict.",
        API + "cluster-resources/lease-v1/",
    ),
    Requirement(
        "LSE-NOD-001",
        "Each node renews a Lease of its own.",
        _LEASE + "#node-heart-beats",
    ),
    Requirement(
        "DNS-HLS-001",
        "The name of a headless Service has an address record for each ready pod, and for no other.",
        _DNS + "#a-aaaa-records",
        ("promise", "endpoints-ready"),
    ),
    Requirement(
        "DNS-HLS-002",
        "Each member has a name of its own below the headless Service.",
        _DNS + "#pod-s-hostname-and-subdomain-fields",
    ),
    Requirement(
        "DNS-HLS-003",
        "Named ports of a headless Service have SRV records for each member.",
        _DNS + "#srv-records",
    ),
    Requirement(
        "DNS-HLS-004",
        "With publishNotReadyAddresses members have their names before they are ready.",
        _SVC,
    ),
    Requirement(
        "DNS-HLS-005",
        "The name of a member that is replaced leads to its new address, and never to another member.",
        _DNS,
    ),
)
