"""A way to try each fault, on a StatefulSet `member` of three pods with a claim each: for tests and the fault table."""

from __future__ import annotations

from typing import Any

import msgspec

from steadyset.chaos.fault import Fault
from steadyset.chaos.faults import fault_named


class Case(msgspec.Struct, kw_only=True, frozen=True):
    """A fault with a target and parameters, and a word of the evidence that its bite must show."""

    fault_name: str
    target: str
    evidence: str
    params: dict[str, Any] = {}

    @property
    def fault(self) -> Fault:
        """The fault itself."""
        return fault_named(self.fault_name)

    def __str__(self) -> str:
        values = [str(v) if not isinstance(v, list) else "+".join(map(str, v)) for v in self.params.values()]
        return "-".join([self.fault_name, self.target.replace("/", "-").replace(":", "-"), *values])


def case(fault_name: str, target: str, evidence: str, **params: Any) -> Case:
    """Short for a Case."""
    return Case(fault_name=fault_name, target=target, evidence=evidence, params=params)


CASES: tuple[Case, ...] = (
    case("pod-kill", "member-0", "UID", mode="delete"),
    case("pod-kill", "member-1", "containers", mode="sigkill"),
    case("pod-kill", "ordinal:2", "containers", mode="sigterm"),
    case("pod-kill", "all", "member-2: UID", mode="delete", grace_s=1),
    case("pod-evict", "member-0", "UID"),
    case("pod-freeze", "member-1", "processes stopped"),
    case("pod-freeze", "member-2", "1 processes stopped", how="main"),
    case("pod-freeze", "member-0", "cgroups frozen", how="freezer"),
    case("pod-freeze", "majority:7", "processes stopped"),
    case("pod-oom", "member-1", "OOMKilled"),
    case("container-restart", "member-2", "containers"),
    case("image-pull-failure", "member-2", "of the new revision"),
    case("node-cordon", "member-2", "bears taint"),
    case("node-drain", "member-1", "evicted"),
    case("node-taint", "member-2", "is gone"),
    case("node-freeze", "member-0", "no answer"),
    case("node-power-off", "member-1", "no answer"),
    case("node-reboot", "member-2", "boot"),
    case("node-delete", "member-0", "-> none"),
    case("volume-detach", "member-0", "EIO"),
    case("volume-yank", "member-0", "EIO"),
    case("volume-read-only", "member-1", "EROFS"),
    case("volume-fill", "member-1", "ENOSPC"),
    case("volume-slow", "member-2", "bytes took"),
    case("volume-claim-delete", "member-2", "Terminating"),
    case("volume-multi-attach", "member-0", "only our finalizer"),
    case("volume-expand", "member-1", "->"),
    case("network-partition", "member-0", "packet member-0 -> member-1: cut"),
    case("network-partition", "member-1", "packet member-0 -> member-1: passes", planes=["peers"], direction="out"),
    case("network-partition", "member-1", "packet member-1 -> member-2: passes", planes=["peers"], direction="in"),
    case("network-partition", "member-1", "clients -> member-1: passes", planes=["peers"], shape="halves"),
    case("network-partition", "member-2", "member-2 -> member-0: passes", planes=["peers"], shape="majority"),
    case("network-partition", "member-1", "packet member-0 -> member-2: cut", planes=["peers"], shape="bridge"),
    case("network-partition", "all", "packet member-1 -> member-2: cut", planes=["peers"], shape="primaries"),
    case("network-partition", "member-0", "clients -> member-0: cut", planes=["clients"]),
    case("network-partition", "member-0", "new connection member-0 -> api-server", planes=["api-server"]),
    case("network-partition", "member-0", "query member-0 -> dns", planes=["dns"]),
    case("network-loss", "member-0", "packets lost", percent=40.0),
    case("network-bandwidth", "member-1", "bytes/s sent pass"),
    case("network-netem", "member-1", "netem"),
    case("daemon-pause", "member-2", "is stopped", daemon="kubelet"),
    case("daemon-pause", "kube-apiserver", "answers no request"),
    case("daemon-pause", "etcd", "answers no request"),
    case("daemon-stop", "member-1", "has ended", daemon="kubelet"),
    case("daemon-stop", "kube-apiserver", "answers no request"),
    case("daemon-stop", "kube-scheduler", "has ended"),
    case("daemon-stop", "kube-controller-manager", "has ended"),
    case("daemon-stop", "etcd", "answers no request"),
    case("daemon-restart", "member-0", "pid", daemon="kubelet"),
    case("daemon-restart", "member-1", "pid", daemon="containerd"),
    case("daemon-restart", "kube-apiserver", "pid"),
    case("daemon-restart", "kube-scheduler", "pid"),
    case("daemon-restart", "kube-controller-manager", "pid"),
    case("daemon-restart", "etcd", "pid"),
    case("webhook-down", "pods", "down.steadyset.io"),
    case("dns-down", "kube-dns", "no ready endpoints"),
)


def first_case(fault: Fault) -> Case:
    """The first case of that fault."""
    return next(c for c in CASES if c.fault_name == fault.name)
