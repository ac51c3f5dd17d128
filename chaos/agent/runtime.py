"""The container runtime of a node, asked through its own client."""

from __future__ import annotations

import subprocess

from .node import Node, VerbError

CTR_TIMEOUT_S = 30.0  # one call
GONE = ("not found", "process already finished")


def signal_containers(node: Node, container_ids: list[str], name: str) -> int:
    """Have containerd send the signal `name` (SIGTERM, …) to the main process of each container; to how many.

    Containers that have ended do not matter. VerbError when the runtime refuses.
    """
    done = 0
    for container in container_ids:
        # With all of the node's namespaces, as if at its console: there the client finds the runtime's socket.
        argv = ["nsenter", "-t", str(node.pid), "-m", "-n", "-p", "-u", "-i", "--"]
        argv += ["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", name, container]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=CTR_TIMEOUT_S, check=False)
        if ended.returncode and not any(said in ended.stderr for said in GONE):
            raise VerbError(f"containerd did not signal {container[:12]}: {ended.stderr.strip()[-300:]}")
        done += ended.returncode == 0
    return done
