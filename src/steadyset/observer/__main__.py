"""`python -m steadyset.observer --cluster FILE --out TRACE --namespace NS`: the observer's own process.

Prints `synced` once every kind has been listed. SIGTERM ends it in good order (exit 0); it also ends when its parent
does. Exit code 4 when a part of it broke: a trace that silently lacks a kind would be worse than none.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from kubernetes import client, config

from steadyset import __version__, wait
from steadyset.clusterinfo import ClusterInfo, load_cluster_info
from steadyset.errors import SteadysetError, UsageError
from steadyset.observer.kinds import KINDS
from steadyset.observer.nodes import NodeEvidence
from steadyset.observer.watch import KindWatch
from steadyset.trace import NOTE_END, TraceWriter

TICK_S = 0.25  # how often the parts and the parent are looked after
SETTLE_S = 0.2  # after SIGTERM, events already sent by the server are still taken
BROKEN = 4
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]


def connect(info: ClusterInfo) -> client.ApiClient:
    """A client for the cluster, with one pooled connection for each watch and dead peers found within about 10 s."""
    settings = client.Configuration()
    settings.socket_options = KEEPALIVE
    settings.connection_pool_maxsize = 2 * len(KINDS)
    settings.retries = False
    try:
        config.load_kube_config(info.kubeconfig, info.context or None, settings, persist_config=False)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise UsageError(f"kubeconfig {info.kubeconfig} cannot be used: {error}") from None
    return client.ApiClient(settings)


def observe(info: ClusterInfo, out: Path, namespace: str, stopping: threading.Event) -> int:
    """Run every watch until `stopping` is set; returns the exit code."""
    parent = os.getppid()
    writer = TraceWriter(out)
    writer.note("begin", namespace=namespace, cluster=info.name, uid=info.uid, version=__version__)
    done = threading.Event()
    api_client = connect(info)
    parts: list[KindWatch | NodeEvidence] = [KindWatch(kind, api_client, namespace, writer, done) for kind in KINDS]
    if info.can("node-evidence"):
        parts.append(NodeEvidence(info, writer, done))
    for part in parts:
        part.start()
    told = False
    while not stopping.wait(TICK_S if told else SETTLE_S / 10):
        broken = [part for part in parts if part.crash]
        if broken:
            print(f"observer: {broken[0].name} broke: {broken[0].crash!r}", file=sys.stderr, flush=True)  # noqa: T201
            return BROKEN
        if not told and all(part.synced.is_set() for part in parts):
            told = True
            print("synced", flush=True)  # noqa: T201
        if os.getppid() != parent:
            break
    wait.pause(SETTLE_S)
    done.set()
    for part in parts:
        if isinstance(part, KindWatch):
            part.finish()
    writer.note(NOTE_END)
    writer.close()
    return 0


def main() -> int:
    """Parse the arguments, run, and say what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m steadyset.observer", description=__doc__)
    parser.add_argument("--cluster", required=True, help="cluster file written by a provider")
    parser.add_argument("--out", required=True, type=Path, help="trace to append to")
    parser.add_argument("--namespace", required=True, help="namespace of the workload; empty: all")
    args = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        return observe(load_cluster_info(args.cluster), args.out, args.namespace, stopping)
    except SteadysetError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # watches that wait for the server hold nothing that an orderly exit would save
