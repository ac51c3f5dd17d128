"""What only the cluster's provider can do to a machine: switch nodes and daemons, by its own command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError

MACHINE_TIMEOUT_S = 120.0  # machine_command: one `steadyset cluster …` command
VERBS = ("off", "on", "freeze", "thaw")


def node_machine(info: ClusterInfo, verb: str, node: str) -> None:
    """Run `steadyset cluster node VERB NODE`; InstrumentError with its message when it fails."""
    machine_command(info, ["node", verb, node])


def machine_command(info: ClusterInfo, words: Sequence[str]) -> None:
    """Run `steadyset cluster WORDS… --name NAME`; InstrumentError with its message when it fails."""
    argv = [sys.executable, "-m", "steadyset", "cluster", *words, "--name", info.name]
    what = " ".join(words)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MACHINE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InstrumentError(f"{what} was not done within {MACHINE_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise InstrumentError(f"{what} failed: {done.stderr.strip()[-500:]}")
