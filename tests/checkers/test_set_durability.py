"""set-durability: losses, phantoms, duplicates, unknown outcomes, and what proves nothing."""

from __future__ import annotations

import random

import pytest

from steadyset.checkers import SetDurability, make_checker
from steadyset.errors import UsageError
from steadyset.history import FAIL, FOREVER, INFO, OK, History, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute


def _adds(count: int, key: str = "k") -> list[Op]:
    return [
        Op("add", 10 * v, 10 * v + 5, OK, v, key=key, process=v % 3, server=f"pod-{v % 2}", epoch=v // 4)
        for v in range(count)
    ]


def _final(values: list[int], key: str = "k", start: int = 1000) -> Op:
    return Op("read-all", start, start + 10, OK, values=values, key=key, process=9, session="final")


def test_everything_there_passes() -> None:
    """Goal: all adds in the final read is a PASS that says how much was judged."""
    found = SetDurability(acknowledged_min=10).check(history_of([*_adds(10), _final(list(range(10)))]))
    assert found.verdict == Verdict.PASS
    assert found.observed["judged"] == 10


def test_a_lost_add_is_named() -> None:
    """Goal: the lost value is listed with who wrote it, who acknowledged it and the read that lacks it."""
    found = SetDurability().check(history_of([*_adds(10), _final([v for v in range(10) if v not in (3, 7)])]))
    assert found.verdict == Verdict.FAIL
    assert found.data["lost"] == [["k", 3], ["k", 7]]
    text = "\n".join(found.witness)
    assert "add 3 on k" in text and "by pod-1 in epoch 0" in text and "session final" in text
    assert found.data["witness_ops"] == [3, 10]


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (None, "was never added"),
        (Op("add", 1, 2, FAIL, 77, key="k"), "was refused"),
        (Op("add", 5000, 5001, OK, 77, key="k"), "was sent only after it was read"),
        (Op("add", 1, 2, OK, 77, key="other"), "was never added"),
    ],
)
def test_phantoms_are_named(op: Op | None, why: str) -> None:
    """Goal: a value that nobody added, or only by a refused add, or later, or to another key is a phantom."""
    ops = [*_adds(5), *([op] if op else []), _final([*range(5), 77]), _final([77], "other")][: None if op else 7]
    found = SetDurability().check(history_of(ops))
    assert found.verdict == Verdict.FAIL
    assert ["k", 77] in found.data["phantom"]
    assert why in "\n".join(found.witness)


def test_a_torn_history_gives_no_phantom_but_keeps_losses() -> None:
    """Goal: an unrecorded add may explain a phantom, so that it is INVALID; a loss is a loss."""
    torn = history_of([*_adds(5), _final([*range(5), 77])], complete=False)
    found = SetDurability().check(torn)
    assert found.verdict == Verdict.INVALID and found.data["phantom"] == [["k", 77]]
    refused = history_of([*_adds(5), Op("add", 1, 2, FAIL, 77, key="k"), _final([*range(5), 77])], complete=False)
    assert SetDurability().check(refused).verdict == Verdict.FAIL
    lossy = history_of([*_adds(5), _final([0, 1, 2, 77])], complete=False)
    assert SetDurability().check(lossy).verdict == Verdict.FAIL


def test_duplicates_are_flagged_unless_added_twice() -> None:
    """Goal: a value twice in one read fails, unless it was sent twice."""
    twice = [0, 1, 2, 2, 3, 4]
    found = SetDurability().check(history_of([*_adds(5), _final(twice)]))
    assert found.verdict == Verdict.FAIL and found.data["duplicate"] == [["k", 2]]
    retried = [*_adds(5), Op("add", 500, FOREVER, INFO, 2, key="k"), _final(twice)]
    assert SetDurability().check(history_of(retried)).verdict == Verdict.PASS


def test_unknown_outcomes_are_resolved_by_the_final_read() -> None:
    """Goal: the share of unknown adds that the final read resolves is reported."""
    unknown = [Op("add", 60, FOREVER, INFO, v, key="k") for v in (50, 51, 52)]
    found = SetDurability().check(history_of([*_adds(5), *unknown, _final([*range(5), 51])]))
    assert found.verdict == Verdict.PASS
    assert (
        found.observed["unknown"],
        found.data["unknown_took_effect"],
        found.data["unknown_no_effect"],
    ) == (3, 1, 2)
    assert found.data["unknown_resolved_share"] == 1.0


def test_a_value_seen_before_and_gone_later_is_lost() -> None:
    """Goal: an unknown add that a read showed took effect, so that its absence from the final read is a loss."""
    seen = Op("read-all", 100, 110, OK, values=[0, 50], key="k")
    ops = [*_adds(5), Op("add", 60, FOREVER, INFO, 50, key="k"), seen, _final(list(range(5)))]
    found = SetDurability().check(history_of(ops))
    assert found.verdict == Verdict.FAIL and found.data["lost"] == [["k", 50]]


def test_vacuous_histories_are_invalid() -> None:
    """Goal: no final read of some key, too few adds, or adds only after the final read prove nothing."""
    cases: list[tuple[History, SetDurability]] = [
        (history_of([]), SetDurability()),
        (history_of(_adds(5)), SetDurability()),
        (history_of([*_adds(5), *_adds(5, "other"), _final(list(range(5)))]), SetDurability()),
        (history_of([*_adds(5), _final(list(range(5)))]), SetDurability(acknowledged_min=6)),
        (history_of([*_adds(5), _final([], start=0)]), SetDurability(acknowledged_min=2)),
    ]
    for history, checker in cases:
        assert checker.check(history).verdict == Verdict.INVALID


def _brute(ops: list[Op]) -> str:
    """The definition, literally: one key, one final read, unique adds."""
    final = max((op for op in ops if op.session == "final"), key=lambda op: op.start)
    for read in (op for op in ops if op.f == "read-all"):
        assert read.values is not None
        for value in read.values:
            sent = [op for op in ops if op.f == "add" and op.value == value and op.outcome != FAIL]
            if not any(op.start <= read.end for op in sent) or list(read.values).count(value) > len(sent):
                return "FAIL"
    assert final.values is not None
    judged = 0
    for add in (op for op in ops if op.f == "add" and op.outcome != FAIL):
        shown = any(op.f == "read-all" and op.end < final.start and add.value in (op.values or []) for op in ops)
        if (add.outcome == OK and add.end < final.start) or shown:
            judged += 1
            if add.value not in final.values:
                return "FAIL"
    return "PASS" if judged else "INVALID"


def _random(rng: random.Random) -> list[Op]:
    ops, present = [], []
    for value in range(rng.randint(1, 6)):
        start = rng.randrange(20)
        outcome = rng.choice((OK, OK, OK, INFO, FAIL))
        ops.append(Op("add", start, FOREVER if outcome == INFO else start + rng.randrange(5), outcome, value))
        if outcome == OK or (outcome == INFO and rng.random() < 0.5):
            present.append(value)
    for session in ("", "final"):
        start = rng.randrange(15, 25)
        values = [v for v in present if session == "final" or rng.random() < 0.8]
        if rng.random() < 0.2:
            values.append(rng.randrange(8))
        if values and rng.random() < 0.2:
            values.pop()
        ops.append(Op("read-all", start, start + rng.randrange(5), OK, values=values, session=session))
    return ops


@pytest.mark.parametrize(
    "count", [pytest.param(1500, id="sample"), pytest.param(200_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(count: int) -> None:
    """Goal: the same verdict as the definition applied literally."""
    rng, seen = random.Random(4), {"PASS": 0, "FAIL": 0, "INVALID": 0}
    for n in range(count):
        ops = _random(rng)
        found = SetDurability().check(history_of(ops))
        assert _brute(ops) == found.verdict, f"history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        seen[found.verdict] += 1
    assert min(seen.values()) > count // 50, seen
    brute.report("set-durability", seen)


def test_registry_makes_checkers_by_rule() -> None:
    """Goal: rule and parameters make a checker; an unknown rule or parameter is a usage error."""
    assert SetDurability(acknowledged_min=7) == make_checker("set-durability", {"acknowledged_min": 7})
    with pytest.raises(UsageError, match="no checker is called nope"):
        make_checker("nope")
    with pytest.raises(UsageError, match="unexpected keyword"):
        make_checker("split-brain", {"nope": 1})


def _epochs(lost: set[int], last_ns: int = 90) -> list[Op]:
    """Adds acknowledged each 1 s in two epochs of ten each, and a final read without `lost`."""
    second = 10**9
    adds = [
        Op("add", v * second, v * second + last_ns, OK, v, key="k", process=v, server=f"pod-{v // 10}", epoch=v // 10)
        for v in range(20)
    ]
    return [*adds, _final([v for v in range(20) if v not in lost], start=100 * second)]


@pytest.mark.parametrize(
    ("lost", "window_s", "verdict", "borne"),
    [
        ({8, 9}, 0.0, Verdict.FAIL, 0),  # nothing is granted by default
        ({8, 9}, 1.0, Verdict.PASS, 2),  # the last second of epoch 0
        ({7, 8, 9}, 1.0, Verdict.FAIL, 2),  # one more than granted
        ({9, 19}, 0.5, Verdict.PASS, 2),  # the end of each epoch
        ({12}, 5.0, Verdict.FAIL, 0),  # in the middle of an epoch
    ],
)
def test_a_bounded_loss(lost: set[int], window_s: float, verdict: Verdict, borne: int) -> None:
    """Goal: an asynchronous store may lose the end of an epoch as far as it says, and that is counted."""
    found = SetDurability(loss_window_s=window_s).check(history_of(_epochs(lost)))
    assert found.verdict == verdict
    assert found.data["lost_within_window"] == borne
    assert len(found.data["lost"]) == len(lost) - borne


@pytest.mark.parametrize(
    ("pause_s", "verdict"),
    [(8.0, Verdict.PASS), (0.9, Verdict.FAIL)],
    ids=["it stopped, and began again at the heal", "it went on, slowly"],
)
def test_a_pause_is_no_time_of_acknowledging(pause_s: float, verdict: Verdict) -> None:
    """Goal: what a cut-off primary acknowledged before it stopped stays granted, though it says a last word later."""
    step = 10**8
    before = [v * step for v in range(20)]  # two seconds, the second of them lost
    after = [before[-1] + round((n + 1) * pause_s * 10**9) for n in range(1 if pause_s > 1 else 9)]
    times = [*before, *after]
    adds = [Op("add", t, t + 1, OK, v, key="k", process=v, server="pod-0", epoch=0) for v, t in enumerate(times)]
    found = SetDurability(loss_window_s=5.0).check(history_of([*adds, _final(list(range(10)), start=100 * 10**9)]))
    assert found.verdict == verdict


def test_no_loss_is_granted_without_an_epoch() -> None:
    """Goal: what was acknowledged without an epoch, or only seen by a read, has no end to be near to."""
    ops = [op._replace(epoch=-1) for op in _epochs({19})]
    assert SetDurability(loss_window_s=50.0).check(history_of(ops)).data["lost"] == [["k", 19]]
