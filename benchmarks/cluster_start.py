"""Time from `cluster up` to a usable cluster: nodes Ready, DNS answering a pod, a PVC bound, attached and mounted.

    python benchmarks/cluster_start.py [--runs 3] [--nodes 3]

Components and images must be cached (one `steadyset cluster up` before). Prints where the time goes, beside the time of
the same cluster's idempotent second `up` as the named peer: what a check of everything costs when nothing is to do.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

from steadyset.fixtures.clusters.embedded import cgroups, operations
from steadyset.fixtures.clusters.embedded import cluster as clusters
from steadyset.fixtures.clusters.embedded.api import Api
from steadyset.fixtures.clusters.embedded.node import PAUSE_REF
from steadyset.wait import wait_for

NAME = "benchstart"
USABLE_S = 120.0
# One A query for the API server's Service; exit 0 when an answer with at least one record comes back within a second.
QUERY = """
import socket, struct, sys
name = b"".join(bytes([len(p)]) + p for p in b"kubernetes.default.svc.cluster.local".split(b".")) + b"\\0"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1), (sys.argv[1], 53))
try:
    sys.exit(0 if struct.unpack(">6H", s.recv(512)[:12])[3] else 1)
except TimeoutError:
    sys.exit(1)
"""


def pod_with_volume() -> list[dict[str, Any]]:
    """A claim and a pod that mounts it."""
    meta = {"name": "usable", "namespace": "default"}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta,
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Mi"}}},
    }
    mount = {"name": "data", "mountPath": "/data"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": PAUSE_REF, "volumeMounts": [mount]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "usable"}}],
        },
    }
    return [claim, pod]


def usable(cluster: clusters.Cluster, api: Api) -> bool:
    """Whether the pod runs, with its volume mounted, and DNS answers a query sent from its network namespace."""
    pod = api.request("GET", "/api/v1/namespaces/default/pods/usable")
    if not pod or pod.get("status", {}).get("phase") != "Running":
        return False
    pids = cgroups.members(
        f"{cluster.node(pod['spec']['nodeName']).cgroup}/kubepods/besteffort/pod{pod['metadata']['uid']}"
    )
    query = ["nsenter", "-t", str(min(pids)), "--net", sys.executable, "-c", QUERY, cluster.layout.dns_address]
    return subprocess.run(query, check=False).returncode == 0


def one_run(nodes: int) -> dict[str, float]:
    """Seconds from the start to the end of each step, and memory."""
    steps: list[tuple[str, float]] = []
    start = time.monotonic()

    def progress(what: str, done: float, total: float) -> None:
        del done, total
        if not steps or steps[-1][0] != what:
            steps.append((what, time.monotonic() - start))

    clusters.ensure_up(name=NAME, nodes=nodes, progress=progress)
    cluster = clusters.Cluster.get(NAME)
    up_s = time.monotonic() - start
    api = cluster.api()
    for manifest in pod_with_volume():
        api.apply(manifest)
    wait_for(
        lambda: usable(cluster, api),
        what="DNS answers a pod with a volume",
        deadline_name="USABLE_S",
        deadline_s=USABLE_S,
        poll_s=0.05,
    )
    usable_s = time.monotonic() - start
    again = time.monotonic()
    clusters.ensure_up(name=NAME, nodes=nodes)
    again_s = time.monotonic() - again
    bounds = [*(at for _, at in steps[1:]), up_s]
    figures = {name: end - at for (name, at), end in zip(steps, bounds, strict=True)}
    figures |= {"up returns": up_s, "usable (DNS + PVC)": usable_s, "second up": again_s}
    figures["resident MB"] = operations.resident_mb(cluster)
    down = time.monotonic()
    clusters.down(NAME)
    return figures | {"down": time.monotonic() - down}


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=3)
    args = parser.parse_args()
    runs = []
    for number in range(args.runs):
        runs.append(one_run(args.nodes))
        sys.stderr.write(f"run {number + 1}/{args.runs}: usable after {runs[-1]['usable (DNS + PVC)']:.1f} s\n")
    lines = [f"{'step':<36}{'min':>8}{'median':>8}{'max':>8}"]
    for name in runs[0]:
        values = [run.get(name, 0.0) for run in runs]
        lines.append(f"{name:<36}{min(values):>8.2f}{statistics.median(values):>8.2f}{max(values):>8.2f}")
    usable_s, again_s = (statistics.median(r[k] for r in runs) for k in ("usable (DNS + PVC)", "second up"))
    lines.append(f"usable from nothing / second up of a running cluster: {usable_s / again_s:.1f}x")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
