"""Our StatefulSet conformance beside upstream's own eight specs, on one embedded cluster in one run.

    python benchmarks/conformance.py [--name conformance] [--procs 1 4] [--skip-upstream]

Runs upstream's specs one at a time, then four at a time (`--procs`: a pass for each number), then ours for the same
assertions, and prints the times and their ratio. The cluster is brought up and removed when it was not there.
Upstream's parts are built by `upstream_e2e.py`, which see.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import upstream_e2e

from steadyset.fixtures.clusters.embedded import components

GROUP = "statefulset"
# Upstream's conformance spec -> the requirements that hold its assertions.
SPECS = {
    "should perform rolling updates and roll backs of template modifications": "STS-UPD-001,STS-UPD-002,STS-UPD-003",
    "should perform canary updates and phased rolling updates of template modifications": "STS-UPD-005,STS-UPD-006",
    "Scaling should happen in predictable order and halt if any stateful pod is unhealthy": "STS-ORD-002,STS-ORD-004",
    "Burst scaling should run to completion even with unhealthy pods": "STS-ORD-006",
    "Should recreate evicted statefulset": "STS-ORD-007",
    "should have a working scale subresource": "STS-API-001",
    "should list, patch and delete a collection of StatefulSets": "STS-API-002",
    "should validate Statefulset Status endpoints": "STS-API-003",
}
# What else covers these requirements and more than upstream's specs assert is left out by file and name.
TESTS = (
    "test_update_and_roll_back",
    "test_canary_and_phases",
    "test_scaling_is_ordered_and_halts",
    "test_parallel_does_not_wait",
    "test_a_pod_that_its_node_rejects_is_recreated",
    "test_scale_subresource",
    "test_list_patch_and_delete_a_collection",
    "test_status_subresource",
)


def ours(name: str, runs: Path) -> dict[str, float]:
    """Run our tests of the same assertions; counts and seconds, of the whole command."""
    argv = [sys.executable, "-m", "steadyset", "conformance", "--cluster-name", name, "--runs", str(runs), "--json"]
    argv += ["--only", ",".join(SPECS.values()), "--tests", ",".join(TESTS)]
    started = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - started
    result = json.loads(done.stdout)
    passed = sum(scenario["verdict"] == "PASS" for scenario in result["scenarios"])
    return {"passed": passed, "failed": len(result["scenarios"]) - passed, "seconds": seconds}


def main() -> int:
    """Run all three and print the table; exit code 1 when something failed or did not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="conformance", help="embedded cluster; brought up and removed when not there")
    parser.add_argument("--procs", type=int, nargs="+", default=[1, 4], help="ginkgo's processes, a pass for each")
    parser.add_argument("--skip-upstream", action="store_true", help="run ours alone")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/conformance"), help="logs, reports and runs")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    built = None if args.skip_upstream else upstream_e2e.build(components.DEFAULT_VERSION)
    rows: list[tuple[str, dict[str, float]]] = []
    with upstream_e2e.loaded(args.name, upstream_e2e.archives(built) if built else []) as cluster:
        for procs in args.procs if built else ():
            folder = out / f"procs-{procs}"
            folder.mkdir(exist_ok=True)
            rows.append((f"upstream, {procs} at a time", upstream_e2e.run_group(GROUP, built, cluster, procs, folder)))
        rows.append(("ours", ours(args.name, out / "runs")))
    mine = rows[-1][1]["seconds"]
    lines = [f"{'StatefulSet conformance':<28}{'passed':>8}{'failed':>8}{'seconds':>9}{'ratio':>8}"]
    for what, found in rows:
        ratio = f"{found['seconds'] / mine:.1f}x"
        lines.append(f"{what:<28}{found['passed']:>8.0f}{found['failed']:>8.0f}{found['seconds']:>9.1f}{ratio:>8}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(found["failed"] or not found["passed"] for _, found in rows))


if __name__ == "__main__":
    sys.exit(main())
