"""The fault catalogue measured: what bites and heals in how many ms, is undone after a kill, needs a kubeconfig alone.

    python benchmarks/fault_table.py --cluster-name bench       run the catalogue's tests on that cluster, then print
    python benchmarks/fault_table.py run-1.xml run-2.xml        print what earlier runs wrote with --junit-xml

Every figure is from a test that passed: `tests/chaos/test_catalogue.py` (bites, heals, kubeconfig alone) and
`tests/chaos/test_lease.py` (killed while held). What was not run is "-"; what the cluster cannot do is "not tested".
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from steadyset.chaos.cases import CASES, first_case

ROOT = Path(__file__).parent.parent
TESTS = ("tests/chaos/test_catalogue.py", "tests/chaos/test_lease.py")
NAMES = ("test_fault_bites", "test_a_kubeconfig_alone", "test_every_lease_ends")
HEAD = (
    "fault",
    "lease",
    "bites in ms",
    "heals in ms",
    "undone after SIGKILL of the runner",
    "and with the API server stopped",
    "kubeconfig alone",
)


def run(cluster: str, only: str) -> Path:
    """Run the tests on that cluster; the JUnit file."""
    results = Path(tempfile.mkdtemp(prefix="steadyset-faults-")) / "faults.xml"
    chosen = " or ".join(NAMES)
    argv = [sys.executable, "-m", "pytest", *TESTS, "-q", "-m", "slow", "--junit-xml", str(results)]
    argv += ["-k", f"({chosen}) and ({only})" if only else chosen]
    subprocess.run(argv, cwd=ROOT, env={**os.environ, "STEADYSET_TEST_CLUSTER": cluster}, check=False)
    return results


def read(paths: list[Path]) -> tuple[dict[str, dict[str, str]], set[str]]:
    """What passed tests recorded of each case, later runs winning; and the cases that were skipped."""
    found: dict[str, dict[str, str]] = {}
    skipped = set()
    for path in paths:
        for test in ElementTree.parse(path).iter("testcase"):
            noted = {p.attrib["name"]: p.attrib["value"] for p in test.iter("property")}
            if test.find("skipped") is not None:
                skipped.add(test.attrib["name"].partition("[")[2].rstrip("]"))
            if "case" in noted and test.find("failure") is None and test.find("error") is None:
                found.setdefault(noted["case"], {}).update(noted)
    return found, skipped


def table(found: dict[str, dict[str, str]], skipped: set[str]) -> str:
    """The table in Markdown."""
    lines = [HEAD, tuple("-" * len(h) for h in HEAD)]
    for case in CASES:
        noted = found.get(str(case), {})
        if str(case) in skipped or case.fault_name in skipped:
            lines.append((str(case), case.fault.lease.value, *["not tested"] * 5))
            continue
        killed, away = "-", noted.get("api_away", "-")
        if "recovered_s" in noted:
            undone = f"undo after {noted['undo_issued_s']} s" if "undo_issued_s" in noted else "nothing to undo"
            killed = f"y ({undone}, whole after {noted['recovered_s']} s)"
            away = away if "undo_issued_s" in noted else "nothing to undo"
        elif case is not first_case(case.fault):
            killed = away = "as above"
        api = "-" if not case.fault.capabilities else f"no: {', '.join(case.fault.capabilities)}"
        row = noted.get("bites_ms", "-"), noted.get("heals_ms", "-"), killed, away, noted.get("kubeconfig", api)
        lines.append((str(case), case.fault.lease.value, *row))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, help="JUnit files of earlier runs")
    parser.add_argument("--cluster-name", default="", help="embedded cluster to run on; kept")
    parser.add_argument("--only", default="", help="pytest -k expression: which faults")
    chosen = parser.parse_args()
    results = chosen.results or [run(chosen.cluster_name, chosen.only)]
    sys.stdout.write(table(*read(results)) + "\n")


if __name__ == "__main__":
    main()
