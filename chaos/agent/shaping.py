"""netem on a pod's own interface: delay, duplication, corruption of what it sends (tc-netem(8))."""

from __future__ import annotations

import subprocess

from .networks import opened, within
from .node import Node, VerbError

TC_TIMEOUT_S = 10.0  # one call
INTERFACE = "eth0"  # what CNI plugins call a pod's interface


def netem(node: Node, net: str, words: list[str]) -> None:
    """Put a netem qdisc with these parameters at the root of the pod's interface. VerbError with tc's message."""
    _tc(node, net, ["add", "dev", INTERFACE, "root", "netem", *words])


def plain(node: Node, net: str) -> bool:
    """Remove the netem qdisc; whether there was one. Nothing happens when the namespace is gone."""
    try:
        if "netem" not in shaped(node, net):
            return False
        _tc(node, net, ["del", "dev", INTERFACE, "root", "netem"])
    except VerbError:
        return False
    return True


def shaped(node: Node, net: str) -> str:
    """The interface's root qdisc, as tc describes it."""
    return _tc(node, net, ["show", "dev", INTERFACE, "root"])


def _tc(node: Node, net: str, words: list[str]) -> str:
    def run() -> subprocess.CompletedProcess[str]:
        argv = ["tc", "qdisc", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=TC_TIMEOUT_S, check=False)

    with opened(node, net) as fd:
        done = within(fd, run)
    if done.returncode:
        raise VerbError(f"tc failed: {done.stderr.strip()}", do="the kernel may lack netem: modprobe sch_netem")
    return done.stdout
