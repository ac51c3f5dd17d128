"""Does the observer lose an event? Thousands of pods churn on a real API server; etcd itself is counted beside.

    python benchmarks/observer/churn.py --cluster NAME [--pods 5000] [--seconds 60] [--cuts 5]

The pods belong to no scheduler, so no node is needed: they are created, their status is patched, they are deleted and
made again, at whatever rate the machine makes. Meanwhile the observer's connections are cut again and again, and etcd
is compacted at every cut. Every revision that etcd's own watch shows below the namespace must be in the trace.
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
from steadyset.observer import Observer
from steadyset.trace import Trace, load_trace
from steadyset.wait import pause, wait_for

WORKERS = 4
SEED = 20260101
SETTLE_S = 120.0
SET_STATUS = {"type": "Ready", "lastProbeTime": None}


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

    def api(self) -> client.CoreV1Api:
        """A client of its own for each thread."""
        settings = client.Configuration()
        config.load_kube_config(self.info.kubeconfig, client_configuration=settings)
        return client.CoreV1Api(client.ApiClient(settings))

    def work(self, worker: int) -> None:
        """Create this worker's share, then patch, delete and make again until stopped."""
        api, rng = self.api(), random.Random(SEED + worker)
        mine = range(worker, self.pods, WORKERS)
        raw = {"_preload_content": False}
        spec = {"schedulerName": "nobody", "terminationGracePeriodSeconds": 0}
        spec["containers"] = [{"name": "main", "image": "none"}]  # type: ignore[assignment]

        def create(number: int) -> None:
            body = {"metadata": {"name": f"p{number}"}, "spec": spec}
            api.create_namespaced_pod(self.namespace, body, **raw).read()

        for number in mine:
            if self.stop.is_set():
                return
            create(number)
            self.calls += 1
        while not self.stop.is_set():
            number = rng.choice(mine)
            if rng.random() < 0.1:
                api.delete_namespaced_pod(f"p{number}", self.namespace, **raw).read()
                create(number)
                self.calls += 1
            else:
                status = {"conditions": [{**SET_STATUS, "status": rng.choice(["True", "False"])}]}
                status["message"] = secrets.token_hex(8)  # type: ignore[assignment]
                api.patch_namespaced_pod_status(f"p{number}", self.namespace, {"status": status}, **raw).read()
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


def main() -> None:
    """Print how many events there were, on both sides, and which are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", default="default")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cuts", type=int, default=5)
    args = parser.parse_args()
    info = embedded.ensure_up(args.cluster)
    namespace = f"churn-{secrets.token_hex(3)}"
    churn = Churn(info, namespace, args.pods)
    api = churn.api()
    api.create_namespace({"metadata": {"name": namespace}})
    pki = Path(info.kubeconfig).parent / "pki" / "etcd"
    etcd = Etcd(pki, info.api_server.rsplit(":", 1)[0], f"/registry/pods/{namespace}/")
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            proxied, relay = through_proxy(info, folder)
            path = folder / "trace.jsonl"
            with Observer(proxied, path, namespace=namespace) as observer, ThreadPoolExecutor(WORKERS) as pool:
                observer.wait_synced()
                began = time.monotonic()
                futures = [pool.submit(churn.work, worker) for worker in range(WORKERS)]
                for _ in range(args.cuts):
                    pause(args.seconds / (args.cuts + 1))
                    relay.send_signal(signal.SIGUSR1)
                    etcd.compact()
                pause(args.seconds / (args.cuts + 1))
                churn.stop.set()
                for future in futures:
                    future.result()
                took = time.monotonic() - began

                def complete() -> Trace | None:
                    trace = load_trace(path)
                    seen = {int(r.rv) for r in trace.of("Pod")}
                    return trace if etcd.revisions and seen >= {max(etcd.revisions)} else None

                pause(1.0)
                wait_for(complete, what="the last event", deadline_name="SETTLE_S", deadline_s=SETTLE_S, poll_s=5)
                assert observer._child is not None
                status = Path(f"/proc/{observer._child.pid}/status").read_text()
            relay.terminate()
            relay.wait()
            trace = load_trace(path)
            size = path.stat().st_size
    finally:
        api.delete_namespace(namespace)
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    records = trace.of("Pod")
    seen = {int(r.rv) for r in records}
    gaps = trace.gaps("Pod", lossless=True)
    sys.stdout.write(
        f"{churn.calls} calls in {took:.0f} s ({churn.calls / took:.0f}/s) on {args.pods} pods; "
        f"load of the machine {os.getloadavg()[0]:.1f}\n"
        f"etcd shows {len(etcd.revisions)} events; the trace has {len(records)} ({len(records) / took:.0f}/s), "
        f"{len(etcd.revisions - seen)} missing, {len(seen - etcd.revisions)} unknown to etcd, "
        f"{len(records) - len(seen)} twice\n"
        f"{args.cuts} cuts with compaction: {len(gaps)} gaps of Pod, {sum(not g.lossless for g in gaps)} lossy, "
        f"longest {max((g.seconds for g in gaps), default=0):.2f} s\n"
        f"observer: peak memory {peak / 1024:.0f} MiB; trace {size / 1e6:.0f} MB\n"
    )
    sys.exit(0 if seen == etcd.revisions and len(records) == len(seen) else 1)


if __name__ == "__main__":
    main()
