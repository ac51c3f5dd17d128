"""split-brain: an older epoch that still acknowledges is found, with the seconds of overlap."""

from __future__ import annotations

import random

import pytest

from steadyset.checkers import SplitBrain
from steadyset.errors import UsageError
from steadyset.history import INFO, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute

S = 1_000_000_000


def _write(start: float, end: float, epoch: int, key: str = "", *, server: str = "", outcome: int = OK) -> Op:
    return Op("write", int(start * S), int(end * S), outcome, int(start * 10), key=key, epoch=epoch, server=server)


GOOD = [_write(0, 1, 1, server="pg-0"), _write(2, 3, 1, server="pg-0"), _write(5, 6, 2, server="pg-1"), _write(7, 8, 2)]


def test_a_clean_failover_passes_and_a_silent_run_proves_nothing() -> None:
    """Goal: one change of epoch without overlap is a PASS; no change at all is INVALID."""
    found = SplitBrain().check(history_of(GOOD))
    assert found.verdict == Verdict.PASS and found.observed["transitions"] == 1
    assert SplitBrain(transitions_min=2).check(history_of(GOOD)).verdict == Verdict.INVALID
    assert SplitBrain().check(history_of(GOOD[:2])).verdict == Verdict.INVALID
    assert SplitBrain(transitions_min=0).check(history_of([])).verdict == Verdict.INVALID


def test_overlap_is_found_and_measured() -> None:
    """Goal: an old primary acknowledging what was sent after the new one's first acknowledgement fails, in seconds."""
    late = [_write(6.5, 7, 1, server="pg-0"), _write(9.25, 10, 1, server="pg-0")]
    found = SplitBrain().check(history_of([*GOOD, *late, _write(9, 11, 2)]))
    assert found.verdict == Verdict.FAIL
    assert found.data["overlap_s"] == 3.25 and found.data["violations"] == 2
    text = "\n".join(found.witness)
    assert "by pg-1 in epoch 2" in text and "by pg-0 in epoch 1" in text
    assert any("split brain" in label for *_, label in found.spans)
    assert found.data["witness_ops"] == [2, 5]


def test_an_older_primary_that_survives_is_not_counted_as_overlap() -> None:
    """Goal: the overlap ends with the newer epoch's last acknowledgement; what the survivor does alone is no part."""
    newer = [_write(5, 6, 2, server="pg-1"), _write(9, 10, 2, server="pg-1")]
    survivor = [_write(8, 8.5, 1, server="pg-0"), _write(20, 21, 1, server="pg-0"), _write(31, 32, 1, server="pg-0")]
    found = SplitBrain().check(history_of([*GOOD[:2], *newer, *survivor]))
    assert found.verdict == Verdict.FAIL
    assert (found.data["overlap_s"], found.data["older_alone_s"], found.data["violations"]) == (2.0, 21.0, 3)
    assert any("alone" in line for line in found.witness)
    again = SplitBrain().check(history_of([*GOOD[:2], *newer, survivor[-1]]))
    assert (again.verdict, again.data["overlap_s"]) == (Verdict.FAIL, 0.0)
    assert "acknowledged writes again" in again.summary and again.data["witness_ops"] == [2, 4]


def test_what_was_sent_before_is_no_split_brain() -> None:
    """Goal: a write that was already under way, one of unknown outcome, and a tie are no violation."""
    harmless = [_write(5.5, 20, 1), _write(7, 8, 1, outcome=INFO), _write(6, 9, 1)]
    assert SplitBrain().check(history_of(GOOD + harmless)).verdict == Verdict.PASS


def test_members_with_stores_of_their_own_are_grouped_by_key() -> None:
    """Goal: with by=key each key is a store: one member's old epoch says nothing about another's."""
    ops = [_write(0, 1, 1, "a"), _write(2, 3, 2, "a"), _write(4, 5, 1, "b"), _write(6, 7, 2, "b")]
    assert SplitBrain().check(history_of(ops)).verdict == Verdict.FAIL
    found = SplitBrain(by="key", transitions_min=2).check(history_of(ops))
    assert found.verdict == Verdict.PASS and found.observed["transitions"] == 2
    worse = SplitBrain(by="key").check(history_of([*ops, _write(9, 10, 1, "b")]))
    assert worse.verdict == Verdict.FAIL and worse.data["groups"] == ["b"]
    with pytest.raises(UsageError, match="cannot group by"):
        SplitBrain(by="server").check(history_of(ops))


@pytest.mark.parametrize(
    "count", [pytest.param(1500, id="sample"), pytest.param(200_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(count: int) -> None:
    """Goal: the same verdict and overlap as comparing every pair."""
    rng, seen = random.Random(5), {"PASS": 0, "FAIL": 0, "INVALID": 0}
    for n in range(count):
        ops = []
        for _ in range(rng.randint(1, 7)):
            start = rng.randrange(12)
            epoch = rng.choice((start // 4, start // 4, -1, rng.randrange(4)))
            ops.append(Op("write", start, start + rng.randrange(4), rng.choice((OK, OK, OK, INFO)), epoch=epoch))
        good = [op for op in ops if op.outcome == OK and op.epoch >= 0]
        pairs = [(o, w) for o in good for w in good if o.epoch < w.epoch and o.start > w.end]
        last = {o.epoch: max((w.end for w in good if w.epoch > o.epoch), default=0) for o in good}
        overlaps = [o.start - w.end for o, w in pairs if o.start <= last[o.epoch]]
        expected = "FAIL" if pairs else "PASS" if len({op.epoch for op in good}) > 1 else "INVALID"
        found = SplitBrain().check(history_of(ops))
        assert expected == found.verdict, f"history {n}: {found.summary}"
        assert max(overlaps, default=0) / 1e9 == found.data["overlap_s"]
        seen[expected] += 1
    assert min(seen.values()) > count // 50, seen
    brute.report("split-brain", seen)
