"""Histories that nobody here wrote, whose verdicts are known: agreement must be complete. Skipped where absent."""

from __future__ import annotations

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
