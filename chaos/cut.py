"""A partition in force: members with their network namespaces, the rules in them, and members that are replaced.

A cut follows the identity: when a member's pod is replaced, the new pod is cut as soon as its sandbox has an address,
before its containers start; when that did not work out, the bite is said to be lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from steadyset.chaos.act import Act
from steadyset.chaos.agent import networks
from steadyset.chaos.kube import Kube, UnreachableError, uid_of
from steadyset.chaos.nft import cut_script, renew_script
from steadyset.chaos.partition import Cuts
from steadyset.chaos.reach import Reach, at_once, reach_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

FOLLOW_POLL_S = 0.1  # how often members are looked at, to see that they are replaced
SANDBOX_WAIT_S = 1.0  # one question whether a new sandbox is there lasts this long at most
JOIN_DEADLINE_S = 5.0  # cut_join: until the following thread has ended

Json = dict[str, Any]


class Member(msgspec.Struct, kw_only=True):
    """A running pod of the partition, and how its node is worked."""

    name: str
    uid: str
    address: str
    reach: Reach

    @property
    def net(self) -> str:
        """Its network namespace, as verbs name it."""
        return f"pod:{self.uid}"

    @property
    def home(self) -> Json:
        """What an undo has to know of it."""
        return {"uid": self.uid, "node": self.reach.node}


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
    member = Member(name=name, uid=uid_of(pod), address=address, reach=reach_of(info, pod["spec"]["nodeName"]))
    try:
        seen = member.reach.call(networks.net_address, member.net)
    except UnreachableError:
        raise
    except InstrumentError as error:
        seen = error.message
    if seen != address:
        raise UsageError(
            f"the network namespace of pod {name} was not found on its node {member.reach.node}",
            expected=f"a process of pod {member.uid} whose namespace has the address {address}",
            seen=seen,
            do="steadyset cluster status",
        )
    return member


def members_of(info: ClusterInfo, pods: list[Json]) -> list[Member]:
    """These running pods as members, looked up at the same time."""
    return at_once([partial(member_of, info, pod) for pod in pods])


class Cut:
    """Rules in every member's network namespace that drop the packets of `cuts`; `places` are addresses outside."""

    def __init__(
        self, info: ClusterInfo, namespace: str, members: list[Member], cuts: Cuts, places: dict[str, list[str]]
    ) -> None:
        self.info, self.namespace, self.cuts, self.places = info, namespace, cuts, places
        self.members = {m.name: m for m in members}
        self.table, self.ttl_s, self.only = "", 0.0, ""
        self.remarks: list[str] = []
        self.on_lost: Callable[[str], None] = self.remarks.append
        self.on_replaced: Callable[[Member], None] = lambda member: None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed_s: dict[str, float] = {}  # by member: when its last renewal began

    def _addresses(self, name: str) -> list[str]:
        return [self.members[name].address] if name in self.members else self.places[name]

    def _rules(self, member: Member) -> tuple[set[str], set[str]]:
        sources = {a for one, other in self.cuts if other == member.name for a in self._addresses(one)}
        targets = {a for one, other in self.cuts if one == member.name for a in self._addresses(other)}
        return sources, targets

    def apply(self, table: str, ttl_s: float, only: str = "") -> None:
        """Put the rules in place; `only` as in `nft.cut_script`."""
        self.table, self.ttl_s, self.only = table, ttl_s, only
        at_once([partial(self._apply, member) for member in self._broken()])

    def _broken(self) -> list[Member]:
        """The members that have anything to drop; the others are there to be looked at."""
        return [member for member in self.members.values() if any(self._rules(member))]

    def _apply(self, member: Member) -> None:
        began = time.monotonic()
        member.reach.call(networks.nft, member.net, cut_script(self.table, *self._rules(member), self.ttl_s, self.only))
        self._renewed_s[member.name] = began

    def renew(self) -> None:
        """Start every timeout again. InstrumentError when a member's rules have gone."""
        with self._lock:
            at_once([partial(self._renew, member) for member in self._broken()])

    def _renew(self, member: Member) -> None:
        began = time.monotonic()
        script = renew_script(self.table, *self._rules(member), self.ttl_s)
        try:
            member.reach.call(networks.nft, member.net, script)
        except UnreachableError:  # an agent may answer again while the rules are still in force
            if began - self._renewed_s[member.name] > self.ttl_s:
                raise
            return
        except InstrumentError:
            if self._is_gone(member):
                return  # the pod is being replaced: its follower sees to that
            raise
        self._renewed_s[member.name] = began

    def _is_gone(self, member: Member) -> bool:
        pod = Kube(self.info).pod(self.namespace, member.name)
        return pod is None or uid_of(pod) != member.uid or "deletionTimestamp" in pod["metadata"]

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
            try:
                self.members[name] = member_of(self.info, pod)
            except (InstrumentError, UsageError):
                continue  # it is only starting
        return changed

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_DEADLINE_S)

    def _follow(self) -> None:
        kube = Kube(self.info)
        while not self._stop.wait(FOLLOW_POLL_S):
            try:
                for member in self._broken():
                    pod = kube.pod(self.namespace, member.name)
                    node = pod["spec"].get("nodeName", "") if pod else ""
                    if pod is not None and node and uid_of(pod) != member.uid:
                        self._replace(member, uid_of(pod), node)
            except UnreachableError:
                continue
            except (InstrumentError, UsageError) as error:
                self.on_lost(f"replaced members could not be followed: {error}")
                return

    def _replace(self, old: Member, uid: str, node: str) -> None:
        new = Member(name=old.name, uid=uid, address="", reach=reach_of(self.info, node))
        script = cut_script(self.table, *self._rules(new), self.ttl_s, self.only)
        while True:
            began = time.monotonic()
            seen = new.reach.call(networks.cut_new_pod, uid, script, SANDBOX_WAIT_S)
            if seen["address"]:
                break
            if self._stop.is_set():
                return
        new.address = seen["address"]
        with self._lock:
            self.members[new.name] = new
            self._renewed_s[new.name] = began
            at_once([partial(self._renew, member) for member in self._broken()])
        self.on_replaced(new)
        if seen["ran_ms"] > 0:
            self.on_lost(f"pod {new.name} was replaced and ran for {seen['ran_ms']:.0f} ms before it was cut again")
        else:
            self.remarks.append(f"pod {new.name} was replaced by {uid[:8]} and cut again before its first packet")


def stop_following(act: Act) -> None:
    """Before the undo: members that are replaced from now on are not cut again."""
    if "cut" in act.memory:
        act.memory["cut"].stop()
