"""The peer: the kubernetes client's own SharedInformer on the same stream; used by lag.py.

    python benchmarks/observer/informer.py --kubeconfig FILE --out seen.jsonl --last RV

Writes `[resourceVersion, monotonic ns]` of every event when its handler is called.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

from kubernetes import client, config
from kubernetes.informer import SharedInformer

DEADLINE_S = 300


def main() -> None:
    """Watch until the last event."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--last", required=True)
    args = parser.parse_args()
    config.load_kube_config(args.kubeconfig)
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def handle(pod: client.V1Pod) -> None:
        rv = pod.metadata.resource_version
        seen.append((int(rv), time.monotonic_ns()))
        if rv == args.last:
            done.set()

    informer = SharedInformer(client.CoreV1Api().list_namespaced_pod, namespace="n")
    for event in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(event, handle)
    informer.start()
    done.wait(DEADLINE_S)
    args.out.write_text("\n".join(map(json.dumps, seen)))
    print("done", flush=True)  # noqa: T201
    input()


if __name__ == "__main__":
    main()
