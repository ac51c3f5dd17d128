"""Lag, CPU and memory of the observer at a fixed event rate, beside the kubernetes client's own informer.

    python benchmarks/observer/lag.py [--rate 2000] [--seconds 10] [--live 500] [--repeat 1]

A local server replays recorded watch bytes; each reader runs alone on one core, the server on another. Lag is from just
before an event is sent until the observer has written it to its trace (`written`) or the informer's handler is called.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from steadyset.clusterinfo import ClusterInfo, save_cluster_info
from steadyset.observer import Observer
from steadyset.trace import load_trace
from steadyset.wait import wait_for

HERE = Path(__file__).parent
CATCH_UP_S = 300.0
FIRST_RV = 1000


def usage(pid: int) -> dict[str, float]:
    """Peak memory (MiB) and CPU seconds of a process so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {"memory_mib": peak / 1024, "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")}


class Replay:
    """The server as a child on its own core."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.sent_path = folder / "sent.jsonl"
        argv = [sys.executable, str(HERE / "replay.py"), "--rate", str(args.rate), "--seconds", str(args.seconds)]
        argv += ["--live", str(args.live), "--sent", str(self.sent_path)]
        os.sched_setaffinity(0, {args.cores[0]})
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(0, {args.cores[1]})
        assert self.child.stdout is not None
        url = f"http://127.0.0.1:{int(self.child.stdout.readline())}"
        self.kubeconfig = folder / "kubeconfig"
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }  # fmt: skip
        self.kubeconfig.write_text(yaml.safe_dump(content))

    def sent(self) -> dict[int, tuple[int, int]]:
        """resourceVersion to (monotonic, wall) once everything is sent."""
        assert self.child.stdout is not None
        self.child.stdout.readline()
        return {r: (m, w) for r, m, w in map(json.loads, self.sent_path.read_text().splitlines())}

    def close(self) -> None:
        """End the server."""
        self.child.communicate("\n")


def figures(name: str, lags_ns: list[int], expected: int, cost: dict[str, float]) -> dict[str, Any]:
    """One row of the table."""
    ms = np.array(lags_ns) / 1e6
    row = {f"lag_ms_p{q}": float(np.percentile(ms, q)) for q in (50, 99)}
    row["lag_ms_max"] = float(ms.max())
    return {"reader": name, "events": len(lags_ns), "lost": expected - len(lags_ns), **row, **cost}


def observer(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The observer's rows: received and written."""
    replay = Replay(folder, args)
    info = ClusterInfo(name="bench", provider="kubeconfig", kubeconfig=str(replay.kubeconfig))
    save_cluster_info(info, folder / "cluster.json")
    path = folder / "trace.jsonl"
    last = f'"rv":"{FIRST_RV + args.rate * args.seconds}"'.encode()

    def tail() -> bytes:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            return file.read()

    with Observer(info, path, namespace="n") as watcher:
        watcher.wait_synced()
        sent = replay.sent()
        wait_for(lambda: last in tail(), what="the last event", deadline_name="CATCH_UP_S", deadline_s=CATCH_UP_S)
        assert watcher._child is not None
        cost = usage(watcher._child.pid)
    replay.close()
    seen = [r for r in load_trace(path).of("Pod") if r.e != "SYNC"]
    received = [r.t - sent[int(r.rv)][0] for r in seen]
    written = [r.w - sent[int(r.rv)][1] for r in seen]
    return [
        figures("observer, received", received, len(sent), cost),
        figures("observer, written", written, len(sent), cost),
    ]


def informer(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The peer's row."""
    replay = Replay(folder, args)
    out = folder / "seen.jsonl"
    last = str(FIRST_RV + args.rate * args.seconds)
    argv = [sys.executable, str(HERE / "informer.py"), "--kubeconfig", str(replay.kubeconfig), "--out", str(out)]
    child = subprocess.Popen([*argv, "--last", last], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    sent = replay.sent()
    assert child.stdout is not None
    child.stdout.readline()
    cost = usage(child.pid)
    child.communicate("\n")
    replay.close()
    seen = dict(json.loads(line) for line in out.read_text().splitlines())
    lags = [t - sent[rv][0] for rv, t in seen.items() if rv in sent]
    return [figures("kubernetes SharedInformer", lags, len(sent), cost)]


def main() -> None:
    """Print one table per repetition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000, help="events per second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--live", type=int, default=500, help="pods alive at any time")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--cores", type=int, nargs=2, default=sorted(os.sched_getaffinity(0))[:2])
    args = parser.parse_args()
    for _ in range(args.repeat):
        rows = []
        load = os.getloadavg()[0]
        for reader in (observer, informer):
            with tempfile.TemporaryDirectory() as folder:
                rows += reader(Path(folder), args)
        sys.stdout.write(
            f"{args.rate} events/s for {args.seconds} s, {args.live} live pods, one core for the reader, "
            f"load of the machine before: {load:.1f}\n"
        )
        for row in rows:
            sys.stdout.write(
                f"  {row['reader']:26} {row['events']} events, {row['lost']} lost; lag p50 {row['lag_ms_p50']:.1f} ms, "
                f"p99 {row['lag_ms_p99']:.1f} ms, max {row['lag_ms_max']:.1f} ms; CPU {row['cpu_s']:.1f} s, "
                f"peak memory {row['memory_mib']:.0f} MiB\n"
            )


if __name__ == "__main__":
    main()
