"""The register checker: agreement with brute force, named violations, vacuity."""

from __future__ import annotations

import itertools
import random

import pytest

from steadyset.checkers import LinearizableRegister
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute

SAMPLE = 1500
KINDS: list[dict[str, bool]] = [{}, {"silent_refusals": True}, {"unique": False, "silent_refusals": True}]
ALL = -(-200_000 // len(KINDS))


def _agree(seed: int, count: int, **kinds: bool) -> dict[str, int]:
    rng = random.Random(seed)
    seen = {"PASS": 0, "FAIL": 0}
    for n in itertools.count():
        if sum(seen.values()) == count:
            break
        ops = brute.random_register(rng, **kinds)
        found = LinearizableRegister().check(history_of(ops))
        if found.observed["definite"] == 0:
            continue
        expected = Verdict.PASS if brute.register_verdict(ops) else Verdict.FAIL
        assert expected == found.verdict, f"seed {seed} history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        seen[found.verdict] += 1
    brute.report(f"register {kinds or ''}", seen)
    return seen


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_agrees_with_brute_force(kinds: dict[str, bool]) -> None:
    """Goal: the same verdict as a search of every order, on random small histories of both verdicts."""
    seen = _agree(1, SAMPLE, **kinds)
    assert min(seen.values()) > SAMPLE // 10, seen


@pytest.mark.slow
@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_agrees_with_brute_force_on_many(kinds: dict[str, bool]) -> None:
    """Goal: as above, on 200,000 histories of all kinds."""
    seen = _agree(2, ALL, **kinds)
    assert min(seen.values()) > ALL // 10, seen


W5 = Op("write", 0, 10, OK, 5, process=1, server="pod-0", epoch=3)
W6 = Op("write", 20, 30, OK, 6, process=2)
VIOLATIONS = {
    "phantom": [W5, Op("read", 20, 30, OK, 99)],
    "aborted read": [W5, Op("write", 12, 15, FAIL, 9), Op("read", 20, 30, OK, 9)],
    "read from the future": [Op("read", 0, 5, OK, 6), W6],
    "stale read": [W5, W6, Op("read", 40, 50, OK, 5)],
    "overlap": [
        W5,
        Op("write", 1, 11, OK, 6),
        Op("read", 20, 30, OK, 6),
        Op("read", 40, 50, OK, 5),
        Op("read", 60, 70, OK, 6),
    ],
    "fork": [W5, Op("cas", 11, 20, OK, 5, 7), Op("cas", 12, 21, OK, 5, 8)],
    "cycle": [Op("cas", 0, 20, OK, 7, 8), Op("cas", 0, 20, OK, 8, 7)],
    "misordered chain": [W5, Op("cas", 11, 20, OK, 5, 7), Op("read", 30, 40, OK, 5)],
}


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_violations_are_named_with_their_witness(kind: str) -> None:
    """Goal: each violation has its own name, and the witness holds ops of the history that are few."""
    ops = VIOLATIONS[kind]
    found = LinearizableRegister().check(history_of(ops))
    assert found.verdict == Verdict.FAIL
    assert kind == found.data["kind"]
    assert 1 <= len(found.data["witness_ops"]) <= 5
    assert len(found.spans) == len(found.data["witness_ops"])


def test_witness_says_who_when_and_by_whom() -> None:
    """Goal: a stale read names the writer, the acknowledging server and epoch, and what contradicts it."""
    found = LinearizableRegister().check(history_of(VIOLATIONS["stale read"]))
    text = "\n".join(found.witness)
    assert "process 1: write 5" in text and "by pod-0 in epoch 3" in text
    assert "read 5" in text and "write 6" in text and "in the midst of that" in text


def test_unknown_writes_count_only_when_observed() -> None:
    """Goal: an unobserved unknown write is dropped, an observed one took effect, and the share is reported."""
    lost = Op("write", 0, FOREVER, INFO, 7)
    assert LinearizableRegister().check(history_of([lost, Op("read", 9, 10, OK, NIL)])).verdict == Verdict.PASS
    late = history_of([lost, Op("read", 9, 10, OK, NIL), Op("read", 11, 12, OK, 7), Op("read", 13, 14, OK, NIL)])
    found = LinearizableRegister().check(late)
    assert found.verdict == Verdict.FAIL
    assert found.data["unknown_resolved"] == 1 and found.observed["unknown"] == 1


def test_only_registers_count_as_keys() -> None:
    """A list in the same history, or an op of the nemesis, is no register."""
    ops = [
        Op("append", 1, 2, OK, 3, key="list"),
        Op("write", 3, 4, OK, 5, key="a"),
        Op("read", 5, 6, OK, 5, key="a"),
        Op("read", 7, 8, OK, NIL, key="b"),
    ]
    found = LinearizableRegister().check(history_of(ops))
    assert found.observed["keys"] == 2
    assert "3 ops on 2 keys" in found.summary


def test_unknown_swaps_count_through_one_another() -> None:
    """Goal: an unknown compare-and-set that only another, observed one saw took effect: a second heir is a fork."""
    ops = [
        W5,
        Op("cas", 11, FOREVER, INFO, 5, 6),
        Op("cas", 12, FOREVER, INFO, 6, 7),
        Op("read", 20, 30, OK, 7),
        Op("cas", 11, 40, OK, 5, 9),
    ]
    found = LinearizableRegister().check(history_of(ops))
    assert (found.verdict, found.data["kind"]) == (Verdict.FAIL, "fork")
    assert found.data["unknown_resolved"] == 2


@pytest.mark.parametrize("seed", range(6))
def test_the_search_tries_every_way_to_use_unknown_ops(seed: int) -> None:
    """Goal: which unknown op made a value matters later: one choice alone explains all reads."""
    unknown = [
        Op("write", 0, FOREVER, INFO, 1),
        Op("cas", 0, FOREVER, INFO, 2, 1),
        Op("cas", 0, FOREVER, INFO, 3, 1),
    ]
    random.Random(seed).shuffle(unknown)
    known, clock = [], 10
    for value in (2, 1, 3, 1, 4, 1):
        known.append(Op("read" if value == 1 else "write", clock, clock + 1, OK, value))
        clock += 2
    assert LinearizableRegister().check(history_of([*unknown, *known])).verdict == Verdict.PASS
    again = [*known, Op("write", 90, 91, OK, 2), Op("read", 92, 93, OK, 1)]
    assert LinearizableRegister().check(history_of([*unknown, *again])).verdict == Verdict.FAIL


def test_a_torn_history_gives_no_phantom() -> None:
    """Goal: a read whose write may be in the lost batch is INVALID; any other violation stays a FAIL."""
    phantom = VIOLATIONS["phantom"]
    assert LinearizableRegister().check(history_of(phantom, complete=False)).verdict == Verdict.INVALID
    both = [*phantom, *[op._replace(key="other") for op in VIOLATIONS["stale read"]]]
    assert LinearizableRegister().check(history_of(both, complete=False)).verdict == Verdict.FAIL
    assert LinearizableRegister().check(history_of(both, complete=False)).data["kind"] == "stale read"


def test_too_little_is_invalid() -> None:
    """Goal: an empty history, or fewer ops than demanded, proves nothing."""
    assert LinearizableRegister().check(history_of([])).verdict == Verdict.INVALID
    assert LinearizableRegister(ops_min=3).check(history_of([W5, W6])).verdict == Verdict.INVALID
    assert LinearizableRegister(ops_min=2).check(history_of([W5, W6])).verdict == Verdict.PASS


def test_timeout_of_the_search_is_unknown() -> None:
    """Goal: a search that runs out of its budget is INVALID and names the budget."""
    rng = random.Random(3)
    ops = [Op("write", 0, 1000, OK, rng.randint(1, 4), process=p) for p in range(40)]
    ops += [Op("read", 0, 1000, OK, rng.randint(1, 4), process=100 + p) for p in range(40)]
    ops += [Op("read", 0, 1001, OK, 9), Op("write", 1002, 1003, OK, 9)]
    found = LinearizableRegister(search_budget_s=0.2).check(history_of(ops))
    assert found.verdict == Verdict.INVALID
    assert "search_budget_s = 0.2 s" in found.summary


def test_times_far_apart_do_not_overflow() -> None:
    """Goal: the verdict stays when times are so far apart that keyed times do not fit into 64 bits."""
    rng, several_keys = random.Random(12), 0
    for _ in range(300):
        ops = brute.random_register(rng)
        far = [op._replace(start=op.start << 57, end=op.end if op.end == FOREVER else op.end << 57) for op in ops]
        several_keys += len({op.key for op in ops}) > 1
        one, other = (LinearizableRegister().check(history_of(some)) for some in (ops, far))
        assert (one.verdict, one.data.get("kind")) == (other.verdict, other.data.get("kind"))
    assert several_keys > 20
