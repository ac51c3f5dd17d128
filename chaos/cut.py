"""A partition in force: members with their network namespaces, the rules in them, and members that are replaced.

A cut follows the identity: when a member's pod is replaced, the new pod is cut as soon as its sandbox has an address,
before its containers start; when that did not work out, the bite is said to be lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.inside import Process, open_netns, pod_processes
from steadyset.chaos.kube import Kube, UnreachableError, uid_of
from steadyset.chaos.nft import cut_script, renew_script, run_nft
from steadyset.chaos.partition import Cuts
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

FOLLOW_POLL_S = 0.1  # how often members are looked at, to see that they are replaced
SANDBOX_POLL_S = 0.02  # how often a new sandbox is looked for
ADDRESS_TIMEOUT_S = 5.0  # ip_addr: one call
JOIN_DEADLINE_S = 5.0  # cut_join: until the following thread has ended

Json = dict[str, Any]


class Member(msgspec.Struct, kw_only=True):
    """A pod of the partition: `netns` is a file descriptor of its network namespace, -1 while it has none."""

    name: str
    uid: str
    address: str = ""
    netns: int = -1


def member_of(info: ClusterInfo, pod: Json) -> Member:
    """The running pod as a member. UsageError when its network is the node's, or it has no sandbox or IPv4 address."""
    name, address = pod["metadata"]["name"], pod.get("status", {}).get("podIP", "")
    if pod["spec"].get("hostNetwork"):
        raise UsageError(
            f"pod {name} has its node's network: cutting it would cut the node", do="choose another target"
        )
    if not address or ":" in address:
        raise UsageError(
            f"pod {name} has no IPv4 address to cut", expected="a running pod", seen=address or "no address"
        )
    member = Member(name=name, uid=uid_of(pod))
    if not find_netns(info, member, pod["spec"]["nodeName"]) or member.address != address:
        raise UsageError(
            f"the network namespace of pod {name} was not found on this machine",
            expected=f"a process of pod {member.uid} whose namespace has the address {address}",
            seen=member.address or "none",
            do="steadyset cluster status",
        )
    return member


def find_netns(info: ClusterInfo, member: Member, node: str) -> bool:
    """Fill `netns` and `address` from the pod's sandbox process; False while it has none with an address."""
    if not node:
        return False
    foreign = {_inode(f"/proc/{pid}/ns/net") for pid in (os.getpid(), info.node(node).pid)}
    for process in pod_processes(member.uid):
        with suppress(InstrumentError, FileNotFoundError):
            netns = open_netns(process.pid)
            address = "" if os.fstat(netns).st_ino in foreign else address_in(netns)
            if address:
                member.netns, member.address = netns, address
                return True
            os.close(netns)
    return False


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return 0


def address_in(netns: int) -> str:
    """The first IPv4 address, other than loopback's, in that network namespace; "" when it has none yet."""
    argv = ["nsenter", f"--net=/proc/self/fd/{netns}", "--", "ip", "-4", "-j", "addr", "show", "up"]
    done = subprocess.run(argv, capture_output=True, timeout=ADDRESS_TIMEOUT_S, pass_fds=(netns,), check=False)
    if done.returncode != 0:
        raise InstrumentError(f"ip addr failed: {done.stderr.decode().strip()}", do="apt-get install iproute2")
    for link in json.loads(done.stdout or b"[]"):
        for address in link.get("addr_info", []):
            if not str(address["local"]).startswith("127."):
                return str(address["local"])
    return ""


class Cut:
    """Rules in every member's network namespace that drop the packets of `cuts`; `places` are addresses outside."""

    def __init__(
        self, info: ClusterInfo, namespace: str, members: list[Member], cuts: Cuts, places: dict[str, list[str]]
    ) -> None:
        self.info, self.namespace, self.cuts, self.places = info, namespace, cuts, places
        self.members = {m.name: m for m in members}
        self.table, self.ttl_s = "", 0.0
        self.remarks: list[str] = []
        self.on_lost: Callable[[str], None] = self.remarks.append
        self.on_replaced: Callable[[Member], None] = lambda member: None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _addresses(self, name: str) -> list[str]:
        return [self.members[name].address] if name in self.members else self.places[name]

    def _rules(self, member: Member) -> tuple[set[str], set[str]]:
        sources = {a for one, other in self.cuts if other == member.name for a in self._addresses(one)}
        targets = {a for one, other in self.cuts if one == member.name for a in self._addresses(other)}
        return sources, targets

    def apply(self, table: str, ttl_s: float) -> None:
        """Put the rules in place."""
        self.table, self.ttl_s = table, ttl_s
        for member in self.members.values():
            run_nft(member.netns, cut_script(table, *self._rules(member), ttl_s))

    def renew(self) -> None:
        """Start every timeout again. InstrumentError when a member's rules have gone."""
        with self._lock:
            for member in self.members.values():
                if member.netns >= 0:
                    run_nft(member.netns, renew_script(self.table, *self._rules(member), self.ttl_s))

    def follow(self) -> None:
        """Start to watch for members that are replaced."""
        self._thread = threading.Thread(target=self._follow, name="cut follows identities", daemon=True)
        self._thread.start()

    def refresh(self) -> list[str]:
        """Names of members whose pod is another one by now; those that run already are looked up anew."""
        kube, changed = Kube(self.info), []
        for name, member in list(self.members.items()):
            pod = kube.pod(self.namespace, name)
            if pod is None or uid_of(pod) == member.uid:
                continue
            changed.append(name)
            new = Member(name=name, uid=uid_of(pod))
            if find_netns(self.info, new, pod["spec"].get("nodeName", "")):
                self.members[name] = new
        return changed

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_DEADLINE_S)

    def close(self) -> None:
        """Close the namespaces' file descriptors."""
        for member in self.members.values():
            if member.netns >= 0:
                os.close(member.netns)
                member.netns = -1

    def _follow(self) -> None:
        kube = Kube(self.info)
        while not self._stop.wait(FOLLOW_POLL_S):
            try:
                for name, member in list(self.members.items()):
                    pod = kube.pod(self.namespace, name)
                    node = pod["spec"].get("nodeName", "") if pod else ""
                    if pod is not None and node and uid_of(pod) != member.uid:
                        self._replace(member, uid_of(pod), node)
            except UnreachableError:
                continue
            except InstrumentError as error:
                self.on_lost(f"replaced members could not be followed: {error}")
                return

    def _replace(self, old: Member, uid: str, node: str) -> None:
        new = Member(name=old.name, uid=uid)
        seen_ns = time.monotonic_ns()
        while not find_netns(self.info, new, node):
            if self._stop.wait(SANDBOX_POLL_S):
                return
        with self._lock:
            self.members[new.name] = new
            run_nft(new.netns, cut_script(self.table, *self._rules(new), self.ttl_s))
            applied_ns = time.monotonic_ns()
            running = [p for p in pod_processes(uid) if not is_pause(p, pod_processes(uid))]
            for member in self.members.values():
                if member is not new and member.netns >= 0:
                    run_nft(member.netns, renew_script(self.table, *self._rules(member), self.ttl_s))
        self.on_replaced(new)
        if old.netns >= 0:
            os.close(old.netns)
            old.netns = -1
        delay_ms = (applied_ns - seen_ns) / 1e6
        if running:
            self.on_lost(f"pod {new.name} was replaced and ran for up to {delay_ms:.0f} ms before it was cut again")
        else:
            self.remarks.append(f"pod {new.name} was replaced by {uid[:8]} and cut again before its first packet")


def is_pause(process: Process, others: list[Process]) -> bool:
    """Whether the process is the pod's sandbox: the main process of the cgroup that came first."""
    return bool(others) and process.cgroup == others[0].cgroup
