"""Histories that nobody here wrote, whose verdicts are known: agreement must be complete. Skipped where absent."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from steadyset.cli.check import judge_file
from steadyset.verdict import Verdict

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LINEARIZABLE = {2, 5, 7, 18, 25, 31}
TRUTH = {
    **{f"jepsen-etcd/etcd_{n:03}.log": ("cas-register", n in LINEARIZABLE) for n in range(34)},
    "elle/paper-example.edn": ("list-append", False),
    "elle/bank-tidb.edn": ("bank", False),
    "elle/counter.edn": ("counter", True),
    "elle/set.edn": ("set", True),
}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: recorded histories are not part of the project")
@pytest.mark.parametrize("name", TRUTH)
def test_agrees_with_known_verdicts(name: str) -> None:
    """Goal: the known verdict, and for a violation a witness."""
    model, fine = TRUTH[name]
    _, found = judge_file(DATA / name, model)
    assert (Verdict.PASS if fine else Verdict.FAIL) == found.verdict
    assert fine or found.witness


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_no_history_is_left_out() -> None:
    """Goal: every recorded history has its known verdict in the table."""
    there = {str(path.relative_to(DATA)) for path in DATA.glob("*/*")}
    assert there == set(TRUTH)


MODULES = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod") / "github.com" / "anishathalye"
PORCUPINE = max(MODULES.glob("porcupine@*"), default=None)  # there once benchmarks/checkers.py has run


@pytest.mark.slow
@pytest.mark.skipif(
    PORCUPINE is None, reason="Porcupine's module, which holds 102 logs and their verdicts, is not here"
)
def test_agrees_with_every_log_of_porcupine() -> None:
    """Goal: the verdicts that Porcupine's own tests expect of all its Jepsen logs of etcd."""
    assert PORCUPINE is not None
    said = re.findall(r"checkJepsen\(t, (\d+), (true|false)\)", (PORCUPINE / "porcupine_test.go").read_text())
    expected = {int(number): Verdict.PASS if fine == "true" else Verdict.FAIL for number, fine in said}
    logs = PORCUPINE / "test_data" / "jepsen"
    found = {n: judge_file(logs / f"etcd_{n:03}.log", "cas-register", 60.0)[1].verdict for n in expected}
    assert len(expected) > 100 and found == expected
