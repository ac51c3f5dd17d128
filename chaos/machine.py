"""What only the cluster's provider can do to a node: freeze and thaw it, pull its plug and power it on."""

from __future__ import annotations

import subprocess
import sys

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError

MACHINE_TIMEOUT_S = 120.0  # machine_command: one `steadyset cluster node` command
VERBS = ("off", "on", "freeze", "thaw")


def node_machine(info: ClusterInfo, verb: str, node: str) -> None:
    """Run `steadyset cluster node VERB NODE`; InstrumentError with its message when it fails."""
    argv = [sys.executable, "-m", "steadyset", "cluster", "node", verb, node, "--name", info.name]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MACHINE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InstrumentError(f"node {node} could not be switched {verb} within {MACHINE_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise InstrumentError(f"node {node} could not be switched {verb}: {done.stderr.strip()[-500:]}")
