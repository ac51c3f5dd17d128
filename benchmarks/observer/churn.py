"""Does the observer lose an event? Thousands of pods churn on a real API server; etcd itself is counted beside.

    python benchmarks/observer/churn.py --cluster NAME [--pods 5000] [--kwok-nodes 50] [--seconds 60] [--cuts 5]

The pods are scheduled to kwok nodes, which make them Ready and take them away again. Once they all exist they are
labelled, deleted and made again, at whatever rate the machine makes. Meanwhile the observer's connections are cut again
and again, and etcd is compacted at every cut. Every revision that etcd's own watch shows below the namespace must be
in the trace.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config

from steadyset.clusterinfo import ClusterInfo, save_cluster_info
from steadyset.fixtures.clusters import embedded
from steadyset.fixtures.clusters.embedded.kwok import LABEL, TOLERATION, kwok_nodes
from steadyset.observer import Observer
from steadyset.trace import load_trace
from steadyset.wait import pause, wait_for

WORKERS = 4
SEED = 20260101
SETTLE_S = 120.0
QUIET_S = 3.0
CREATED_S = 480.0


class Etcd:
    """etcd's own watch of one key prefix, through its JSON gateway."""

    def __init__(self, pki: Path, address: str, prefix: str) -> None:
        self.http = urllib3.PoolManager(
            ca_certs=str(pki / "ca.crt"), cert_file=str(pki / "client.crt"), key_file=str(pki / "client.key")
        )
        self.url, self.prefix = f"https://{address}:2379/v3", prefix
        self.revisions: set[int] = set()
        self.started = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        self.started.wait()

    def post(self, path: str, body: dict[str, Any], **more: Any) -> urllib3.BaseHTTPResponse:
        """One call of the gateway."""
        return self.http.request("POST", f"{self.url}/{path}", body=json.dumps(body).encode(), **more)

    def _watch(self) -> None:
        key = base64.b64encode(self.prefix.encode()).decode()
        end = base64.b64encode(self.prefix[:-1].encode() + bytes([ord(self.prefix[-1]) + 1])).decode()
        request = {"create_request": {"key": key, "range_end": end}}
        response = self.post("watch", request, preload_content=False)
        rest = b""
        for chunk in response.stream(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(None, lines):
                result = json.loads(line)["result"]
                self.revisions |= {int(e["kv"]["mod_revision"]) for e in result.get("events", [])}
                self.started.set()

    def compact(self) -> int:
        """Forget everything before now; returns the revision."""
        header = json.loads(self.post("kv/range", {"key": "AA=="}).data)["header"]
        revision = int(header["revision"])
        self.post("kv/compaction", {"revision": revision})
        return revision


class Churn:
    """Pods that come, change and go."""

    def __init__(self, info: ClusterInfo, namespace: str, pods: int) -> None:
        self.info, self.namespace, self.pods = info, namespace, pods
        self.calls = 0
        self.stop = threading.Event()
        self.created = threading.Barrier(WORKERS + 1)  # every pod has been made once

    def api(self) -> client.CoreV1Api:
        """A client of its own for each thread."""
        settings = client.Configuration()
        config.load_kube_config(self.info.kubeconfig, client_configuration=settings)
        return client.CoreV1Api(client.ApiClient(settings))

    def work(self, worker: int) -> None:
        """Create this worker's share, then label, delete and make again until stopped."""
        api, rng = self.api(), random.Random(SEED + worker)
        raw = {"_preload_content": False}
        spec = {"nodeSelector": {LABEL: "true"}, "tolerations": [TOLERATION], "terminationGracePeriodSeconds": 1}
        spec["containers"] = [{"name": "main", "image": "none"}]
        mine: list[str] = []

        def create() -> None:
            mine.append(f"p{worker}-{len(mine)}-{secrets.token_hex(3)}")
            api.create_namespaced_pod(self.namespace, {"metadata": {"name": mine[-1]}, "spec": spec}, **raw).read()
            self.calls += 1

        for _ in range(worker, self.pods, WORKERS):
            create()
        self.created.wait()
        while not self.stop.is_set():
            at = rng.randrange(len(mine))
            if rng.random() < 0.2:
                api.delete_namespaced_pod(mine.pop(at), self.namespace, **raw).read()
                create()
            else:
                labels = {"labels": {"churn": secrets.token_hex(4)}}
                api.patch_namespaced_pod(mine[at], self.namespace, {"metadata": labels}, **raw).read()
            self.calls += 1


def through_proxy(info: ClusterInfo, folder: Path) -> tuple[ClusterInfo, subprocess.Popen[str]]:
    """The same cluster, reached through a relay whose connections can be cut."""
    host, port = info.api_server.rsplit(":", 1)
    argv = [sys.executable, str(Path(__file__).with_name("proxy.py")), host, port]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    kubeconfig = yaml.safe_load(Path(info.kubeconfig).read_text())
    for cluster in kubeconfig["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{int(child.stdout.readline())}"
        cluster["cluster"]["tls-server-name"] = host
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    proxied = ClusterInfo(name=info.name, provider="kubeconfig", kubeconfig=str(path))
    save_cluster_info(proxied, folder / "cluster.json")
    return proxied, child


def settle(etcd: Etcd, path: Path) -> frozenset[int]:
    """Every revision of etcd's, once no more come and the trace has the last."""
    before = [-1]

    def quiet() -> bool:
        before.append(len(etcd.revisions))
        return before[-1] == before[-2] > 0

    limits = {"deadline_name": "SETTLE_S", "deadline_s": SETTLE_S}
    wait_for(quiet, what="no more events", poll_s=QUIET_S, **limits)
    everything = frozenset(etcd.revisions)
    last = f'"rv":"{max(everything)}"'.encode()
    wait_for(lambda: last in path.read_bytes(), what="the last event", poll_s=1.0, **limits)
    return everything


def watched(args: argparse.Namespace, info: ClusterInfo, churn: Churn, etcd: Etcd) -> tuple[list[str], bool]:
    """Churn under the observer's eyes: lines of the report, and whether both sides saw the same."""
    with tempfile.TemporaryDirectory() as name, kwok_nodes(args.cluster, args.kwok_nodes):
        proxied, relay = through_proxy(info, Path(name))
        path = Path(name) / "trace.jsonl"
        with Observer(proxied, path, namespace=churn.namespace) as observer, ThreadPoolExecutor(WORKERS) as pool:
            observer.wait_synced()
            began = time.monotonic()
            futures = [pool.submit(churn.work, worker) for worker in range(WORKERS)]
            churn.created.wait(CREATED_S)
            made_s = time.monotonic() - began
            for _ in range(args.cuts):
                pause(args.seconds / (args.cuts + 1))
                relay.send_signal(signal.SIGUSR1)
                etcd.compact()
            pause(args.seconds / (args.cuts + 1))
            churn.stop.set()
            for future in futures:
                future.result()
            took = time.monotonic() - began
            everything = settle(etcd, path)
            listed = churn.api().list_namespaced_pod(churn.namespace, _preload_content=False)
            running = sum(pod["status"].get("phase") == "Running" for pod in json.loads(listed.data)["items"])
            assert observer._child is not None
            status = Path(f"/proc/{observer._child.pid}/status").read_text()
        relay.terminate()
        relay.wait()
        trace, size = load_trace(path), path.stat().st_size
        churn.api().delete_namespace(churn.namespace)
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    records = [int(record.rv) for record in trace.of("Pod")]
    seen = set(records)
    gaps = trace.gaps("Pod", lossless=True)
    lines = [
        f"{args.pods} pods made on {args.kwok_nodes} kwok nodes in {made_s:.0f} s, {running} running at the end; "
        f"{churn.calls} calls in {took:.0f} s ({churn.calls / took:.0f}/s); load {os.getloadavg()[0]:.1f}",
        f"etcd shows {len(everything)} events; the trace has {len(records)} ({len(records) / took:.0f}/s), "
        f"{len(everything - seen)} missing, {len(seen - everything)} unknown to etcd, {len(records) - len(seen)} twice",
        f"{args.cuts} cuts with compaction: {len(gaps)} gaps of Pod, {sum(not g.lossless for g in gaps)} lossy, "
        f"longest {max((g.seconds for g in gaps), default=0):.2f} s",
        f"observer: peak memory {peak / 1024:.0f} MiB; trace {size / 1e6:.0f} MB",
    ]
    return lines, seen == everything and len(records) == len(seen)


def main() -> None:
    """Print how many events there were, on both sides, and which are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", default="default")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--kwok-nodes", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cuts", type=int, default=5)
    args = parser.parse_args()
    info = embedded.ensure_up(args.cluster)
    churn = Churn(info, f"churn-{secrets.token_hex(3)}", args.pods)
    churn.api().create_namespace({"metadata": {"name": churn.namespace}})
    pki = Path(info.kubeconfig).parent / "pki" / "etcd"
    etcd = Etcd(pki, info.api_server.rsplit(":", 1)[0], f"/registry/pods/{churn.namespace}/")
    try:
        lines, same = watched(args, info, churn, etcd)
    finally:
        churn.stop.set()
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
