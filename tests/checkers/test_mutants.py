"""Mutation tests: harms injected into recorded runs that pass are all found, by name, with the op in the witness.

Runs are of threads against objects in this process, and of a real cluster: `testdata/recorded/probe-good`, Locust
against a StatefulSet one of whose members was killed. `pytest -s` prints the table; STEADYSET_RUN=runs/ID takes every
history of that run instead.
"""

from __future__ import annotations

import os
import random
import sys
import tarfile
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path

import pytest

from steadyset.checkers import (
    Bank,
    Checker,
    Counter,
    DurableLog,
    FifoQueue,
    LinearizableList,
    LinearizableRegister,
    LinearizableSet,
    ListAppend,
    SetDurability,
    SplitBrain,
)
from steadyset.history import history_of
from steadyset.judge import Evidence, rules
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict
from tests.checkers import mutants as m
from tests.checkers import real_runs as runs

MUTANTS = 10
RUNS: dict[str, tuple[runs.Body, runs.Body | None]] = {
    "register": (runs.register, None),
    "whole": (runs.whole, runs.final_read),
    "queue": (runs.queue, runs.drain),
    "counter": (runs.counter, None),
    "txn": (runs.transactions, None),
    "bank": (runs.bank, None),
}
# The cycle that a stale transaction closes has one read (G-single) or more (G2), ordered by process or by time.
STALE_TRANSACTION = {"G-single", "G-single-process", "G-single-realtime", "G1b", "G2", "G2-process", "G2-realtime"}
# run, checker, injected harm, names under which it may be found
CASES: list[tuple[str, Checker, m.Mutate, set[str]]] = [
    ("register", LinearizableRegister(), m.stale_read, {"stale read", "overlap", "misordered chain"}),
    ("register", LinearizableRegister(), m.foreign_read, {"phantom"}),
    ("register", LinearizableRegister(), m.aborted_read, {"aborted read"}),
    ("register", LinearizableRegister(), m.fork, {"fork"}),
    ("whole", LinearizableSet(), m.lost_add, {"lost", "lost or stale read"}),
    ("whole", LinearizableSet(), m.lost_from_one_read, {"lost or stale read", "shrunk", "long fork"}),
    ("whole", LinearizableSet(), m.phantom_member, {"phantom"}),
    ("whole", LinearizableSet(), m.refused_member, {"aborted read"}),
    ("whole", LinearizableSet(), m.duplicate_member, {"duplicate"}),
    ("whole", LinearizableList(), m.lost_add, {"lost", "stale read"}),
    ("whole", LinearizableList(), m.lost_from_one_read, {"fork", "stale read"}),
    ("whole", LinearizableList(), m.phantom_member, {"phantom"}),
    ("whole", LinearizableList(), m.duplicate_member, {"duplicate"}),
    ("whole", LinearizableList(), m.swapped_members, {"fork", "misordered"}),
    ("whole", SetDurability(), m.lost_add, {"lost"}),
    ("whole", SetDurability(), m.phantom_member, {"phantom"}),
    ("whole", SetDurability(), m.refused_member, {"phantom"}),
    ("whole", SetDurability(), m.duplicate_member, {"duplicate"}),
    ("whole", SplitBrain(), m.old_primary, {"split brain"}),
    ("queue", FifoQueue(), m.lost_message, {"lost"}),
    ("queue", FifoQueue(), m.duplicate_message, {"duplicate"}),
    ("queue", FifoQueue(), m.foreign_message, {"phantom"}),
    ("queue", FifoQueue(), m.reordered_messages, {"reordered"}),
    ("queue", DurableLog(), m.lost_message, {"lost"}),
    ("queue", DurableLog(), m.duplicate_message, {"duplicate"}),
    ("queue", DurableLog(), m.foreign_message, {"phantom"}),
    ("queue", DurableLog(), m.reordered_messages, {"reordered"}),
    ("counter", Counter(), m.lost_update, {"lost update"}),
    ("counter", Counter(), m.counter_back, {"stale read"}),
    ("counter", Counter(), m.counter_ahead, {"phantom"}),
    ("txn", ListAppend(), m.stale_transaction, STALE_TRANSACTION),
    # Two values of one transaction in another order contradict that transaction; of two transactions, the other reads.
    ("txn", ListAppend(), m.forked_transaction, {"incompatible order", "reordered appends"}),
    ("txn", ListAppend(), m.aborted_transaction, {"G1a"}),
    ("bank", Bank(), m.wrong_total, {"wrong total"}),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[m.Op]]:
    """One recorded run of each kind, as plain ops."""
    folder: Path = tmp_path_factory.mktemp("runs")
    return {
        name: m.ops_of(runs.record(folder / f"{name}.arrows", body, seed=11, last=last))
        for name, (body, last) in RUNS.items()
    }


def _named(checker: Checker, ops: list[m.Op]) -> tuple[str, str, list[int]]:
    judged = checker.check(history_of(ops))
    kind = judged.data.get("kind", "")
    if not kind and judged.verdict == Verdict.FAIL:
        kind = next((name for name in ("lost", "phantom", "duplicate") if judged.data.get(name)), "split brain")
    return judged.verdict, kind, judged.data.get("witness_ops", [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1].rule}-{case[2].__name__}")
def test_every_mutant_is_found(
    recorded: dict[str, list[m.Op]],
    case: tuple[str, Checker, m.Mutate, set[str]],
    record_property: Callable[[str, object], None],
) -> None:
    """Goal: the run passes; each mutant fails under the right name with the injected op in its witness."""
    run, checker, mutate, names = case
    ops = recorded[run]
    assert checker.check(history_of(ops)).verdict == Verdict.PASS
    found = _hunt(checker, ops, mutate, names)
    record_property("found", dict(found))
    _row(run, checker, mutate, found)


def _hunt(checker: Checker, ops: list[m.Op], mutate: m.Mutate, names: set[str]) -> Tally[str]:
    """MUTANTS of them, each found under one of `names` with the injected op in the witness."""
    found: Tally[str] = Tally()
    for seed in range(MUTANTS):
        mutant = m.on_some_key(ops, mutate, random.Random(seed))
        assert mutant is not None, "the run gives no occasion for this harm"
        verdict, kind, witness = _named(checker, mutant.ops)
        assert verdict == Verdict.FAIL, f"mutant {seed} was not found"
        assert kind in names, f"mutant {seed} was called {kind}"
        assert set(mutant.injected) & set(witness), f"mutant {seed} ({kind}): {mutant.injected} not in {witness}"
        alone = checker.check(history_of([mutant.ops[i] for i in sorted(witness)]))
        assert alone.verdict == Verdict.FAIL, f"mutant {seed} ({kind}): the witness alone proves nothing"
        found[kind] += 1
    return found


def _row(run: str, checker: Checker, mutate: m.Mutate, found: Tally[str]) -> None:
    """One row of the table."""
    kinds = ", ".join(f"{kind} {number}" for kind, number in found.most_common())
    count = sum(found.values())
    harm = mutate.__name__.replace("_", " ")
    sys.stdout.write(f"\nmutants | {run} | {checker.rule} | {harm} | {count} of {MUTANTS} found | {kinds}\n")


RECORDED = Path(__file__).parent.parent / "testdata" / "recorded" / "probe-good.tar.xz"
CLUSTER_CASES: list[tuple[str, m.Mutate, set[str]]] = [
    (LinearizableRegister.rule, m.stale_read, {"stale read", "overlap", "misordered chain"}),
    (LinearizableRegister.rule, m.foreign_read, {"phantom"}),
    (LinearizableRegister.rule, m.aborted_read, {"aborted read"}),
    (LinearizableRegister.rule, m.fork, {"fork"}),
    (SetDurability.rule, m.lost_add, {"lost"}),
    (SetDurability.rule, m.phantom_member, {"phantom"}),
    (SetDurability.rule, m.refused_member, {"phantom"}),
    (SetDurability.rule, m.duplicate_member, {"duplicate"}),
    (SplitBrain.rule, m.old_primary, {"split brain"}),
]


@pytest.fixture(scope="module")
def cluster_runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Checker, list[m.Op]]]:
    """Every history of a run on a cluster, with each checker that it was planned for."""
    given = os.environ.get("STEADYSET_RUN", "")
    if not given:
        folder = tmp_path_factory.mktemp("recorded")
        with tarfile.open(RECORDED) as archive:
            archive.extractall(folder, filter="data")
        given = str(folder / "probe-good")
    run, found = RunDir(Path(given)), []
    for scenario in run.scenarios():
        for plan in scenario.planned:
            kind = rules()[plan.rule]
            if hasattr(kind, "check") and any(plan.rule == rule for rule, *_ in CLUSTER_CASES):
                history = Evidence(run, scenario).history(plan.history)
                found.append((scenario.slug, kind(**plan.params), m.ops_of(history)))
    return found


@pytest.mark.parametrize("case", CLUSTER_CASES, ids=lambda case: f"{case[0]}-{case[1].__name__}")
def test_every_mutant_of_a_real_run_is_found(
    cluster_runs: list[tuple[str, Checker, list[m.Op]]], case: tuple[str, m.Mutate, set[str]]
) -> None:
    """Goal: the same for what real clients saw of a real StatefulSet, judged with the parameters of its run."""
    rule, mutate, names = case
    hunted = 0
    for slug, checker, ops in cluster_runs:
        if checker.rule == rule:
            assert checker.check(history_of(ops)).verdict == Verdict.PASS
            _row(slug, checker, mutate, _hunt(checker, ops, mutate, names))
            hunted += 1
    assert hunted
