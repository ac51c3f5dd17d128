"""Speed and memory of the checkers, beside Porcupine on the same histories in the same run.

    python benchmarks/checkers.py                  every row; some minutes
    python benchmarks/checkers.py --ops 10000 --porcupine-timeout-s 10

Each row is a process of its own: it makes a history, checks it, and reports seconds and bytes per op (the history's
columns and what the check needed on top at its peak). Porcupine (Go, see benchmarks/porcupine) gets the same ops in a
file; its time-outs are printed as such. Needs `go` for Porcupine; without it that column says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import checkers_histories as histories

from steadyset.checkers import (
    DurableLog,
    FifoQueue,
    LinearizableList,
    LinearizableRegister,
    LinearizableSet,
    ListAppend,
)
from steadyset.history import History

HERE = Path(__file__).parent
CHECKERS: dict[str, tuple[Callable[[int, int], History], Any, str]] = {
    "A register": (lambda n, c: histories.register(n, clients=c), LinearizableRegister(), "register"),
    "A register+cas": (lambda n, c: histories.register(n, clients=c, cas=0.5), LinearizableRegister(), "register"),
    "B list": (lambda n, c: histories.whole_reads(n * 4 // 5, n // 5, clients=c), LinearizableList(), ""),
    "C queue": (lambda n, c: histories.queue(n, clients=c), FifoQueue(), "queue"),
    "D set": (lambda n, c: histories.whole_reads(n * 4 // 5, n // 5, clients=c, ordered=False), LinearizableSet(), ""),
    "G list-append": (lambda n, c: histories.transactions(n, clients=c), ListAppend(), ""),
    "F log": (lambda n, c: histories.drained(histories.queue(n, clients=c)), DurableLog(), ""),
}
# (checker, ops, clients); B and D by members read: 5,000 ops are 8 million of them, 5,600 are 10 million
ROWS = [
    ("A register", 1_000, 10),
    ("A register", 10_000, 10),
    ("A register", 10_000, 50),
    ("A register", 100_000, 100),
    ("A register", 1_000_000, 100),
    ("A register", 10_000_000, 100),
    ("A register+cas", 10_000, 10),
    ("A register+cas", 1_000_000, 100),
    ("A register+cas", 10_000_000, 100),
    ("B list", 11_200, 100),
    ("C queue", 1_000, 10),
    ("C queue", 10_000, 10),
    ("C queue", 1_000_000, 100),
    ("C queue", 10_000_000, 100),
    ("D set", 11_200, 100),
    ("G list-append", 100_000, 100),
    ("F log", 1_000_000, 100),
    ("F log", 10_000_000, 100),
]
PORCUPINE_OPS_MAX = 100_000
COLUMNS = ("start", "end", "outcome", "process", "f", "key", "value", "value2", "result", "epoch", "list_data")


def _memory(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _row(name: str, ops: int, clients: int, porcupine: str, timeout_s: float) -> dict[str, Any]:
    make, checker, model = CHECKERS[name]
    history = make(ops, clients)
    columns = {id(c): c for c in (getattr(history, column) for column in COLUMNS)}.values()
    held = sum(0 if column.strides == (0,) else column.nbytes for column in columns)
    members = len(history.list_data)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making it
    begin, used = time.perf_counter(), time.process_time()
    verdict = checker.check(history).verdict
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    extra = max(0, _memory("VmHWM") - before)
    found = {
        "checker": name,
        "ops": len(history),
        "clients": clients,
        "members_read": members,
        "verdict": verdict.value,
        "seconds": round(seconds, 4),
        "cpu_seconds": round(used, 4),
        "bytes_per_op": round((held + extra) / max(len(history), 1, members)),
    }
    if porcupine and model and ops <= PORCUPINE_OPS_MAX:
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(histories.rows(history).tobytes())
            file.flush()
            command = [porcupine, model, file.name, str(timeout_s)]
            run = subprocess.run(command, capture_output=True, check=True, text=True)
        found["porcupine"] = json.loads(run.stdout)
    return found


def _build_porcupine(folder: str) -> str:
    if shutil.which("go") is None:
        return ""
    target = str(Path(folder) / "porcupine")
    subprocess.run(["go", "build", "-o", target, "."], cwd=HERE / "porcupine", check=True)
    return target


def _peer(found: dict[str, Any], timeout_s: float) -> tuple[str, str]:
    peer = found.get("porcupine")
    if peer is None:
        return "not run", ""
    if peer["result"] == "Unknown":
        return f"time-out after {timeout_s:g} s", f"> {timeout_s / found['seconds']:.0f}x"
    return f"{peer['seconds']:.3f} s ({peer['result']})", f"{peer['seconds'] / found['seconds']:.1f}x"


def main() -> None:
    """Print the table; with --json also write every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=10_000_000, help="leave out rows with more ops")
    parser.add_argument("--porcupine-timeout-s", type=float, default=40.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, ops, clients, porcupine = json.loads(options.row)
        print(json.dumps(_row(name, ops, clients, porcupine, options.porcupine_timeout_s)))  # noqa: T201
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        porcupine = _build_porcupine(folder)
        cpus = len(os.sched_getaffinity(0))
        print(f"{cpus} CPUs, load {os.getloadavg()[0]:.1f}; Porcupine stops after {options.porcupine_timeout_s:g} s\n")  # noqa: T201
        print("| checker | ops | clients | members read | verdict | seconds | CPU s | bytes/op | Porcupine | ratio |")  # noqa: T201
        print("|---|---|---|---|---|---|---|---|---|---|")  # noqa: T201
        for name, ops, clients in ROWS:
            if ops > options.ops:
                continue
            command = [sys.executable, __file__, "--row", json.dumps([name, ops, clients, porcupine])]
            command += ["--porcupine-timeout-s", str(options.porcupine_timeout_s)]
            found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            results.append(found)
            peer, ratio = _peer(found, options.porcupine_timeout_s)
            cells = (
                name,
                f"{found['ops']:,}",
                clients,
                f"{found['members_read']:,}" if found["members_read"] else "",
                found["verdict"],
                f"{found['seconds']:.3f}",
                f"{found['cpu_seconds']:.3f}",
                found["bytes_per_op"],
                peer,
                ratio,
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)  # noqa: T201
    for name in CHECKERS:
        times = {found["ops"]: found["seconds"] for found in results if found["checker"] == name}
        big, small = max(times, default=0), sorted(times)[-2] if len(times) > 1 else 0
        if small and big >= 5 * small and small >= 900_000:
            print(f"\ngrowth of {name} from {small:,} to {big:,} ops: {times[big] / times[small]:.1f}x")  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
