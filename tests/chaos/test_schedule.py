"""Schedules: what a seed decides, what a sequence means, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from steadyset.chaos.nemesis import Carried, Skipped
from steadyset.chaos.schedule import Schedule, Step, endless, overlap, random_schedule, read_schedule, sequence
from steadyset.errors import UsageError
from steadyset.rundir import FaultSpan

DRAW: dict[str, Any] = {
    "faults": ["pod-kill", "network-partition"],
    "targets": ["m-0", "m-1", "m-2"],
    "per_minute": 6.0,
}


def test_a_seed_reproduces_a_schedule_exactly() -> None:
    """The same seed the same schedule, byte for byte; another seed another one."""
    one, again = (random_schedule(7, duration_s=300, **DRAW) for _ in range(2))
    assert msgspec.json.encode(one) == msgspec.json.encode(again)
    assert one.steps != random_schedule(8, duration_s=300, **DRAW).steps


def test_a_schedule_drawn_today_is_drawn_again_tomorrow() -> None:
    """Pinned: a change of how steps are drawn would make every seed in an old report a lie."""
    first = random_schedule(7, duration_s=30, **DRAW).steps
    assert [(s.fault, s.target, s.at_s, s.hold_s) for s in first] == PINNED


PINNED = [("pod-kill", "m-1", 8.24, 7.21), ("pod-kill", "m-1", 13.96, 6.66), ("pod-kill", "m-0", 28.06, 2.69)]


def test_the_rate_is_kept() -> None:
    """Six a minute over an hour are about 360; each is held as long as was asked, and times go up."""
    steps = random_schedule(3, duration_s=3600, hold_s=(1.0, 2.0), **DRAW).steps
    assert 330 < len(steps) < 390
    assert all(a.at_s < b.at_s for a, b in itertools.pairwise(steps))
    assert all(1.0 <= s.hold_s <= 2.0 for s in steps)
    assert {s.fault for s in steps} == set(DRAW["faults"]) and {s.target for s in steps} == set(DRAW["targets"])


def test_a_schedule_is_the_beginning_of_the_nemesis() -> None:
    """So that what a nemesis did can be repeated as a schedule."""
    made = random_schedule(5, duration_s=60, **DRAW).steps
    assert made == tuple(itertools.islice(endless(5, **DRAW), len(made)))


def test_a_sequence_is_one_after_the_other() -> None:
    """Each begins when the one before is released, and a gap later."""
    made = sequence(
        Step(fault="pod-kill", target="m-0", hold_s=2), Step(fault="pod-freeze", target="m-1", hold_s=3), gap_s=1
    )
    assert [s.at_s for s in made.steps] == [0, 3]


def test_overlapping_steps_keep_their_times() -> None:
    """Whatever the order they are written in."""
    made = overlap(Step(fault="pod-kill", target="m-0", at_s=4), Step(fault="pod-freeze", target="m-1", at_s=1))
    assert [s.fault for s in made.steps] == ["pod-freeze", "pod-kill"]


def test_a_saved_schedule_is_read_back() -> None:
    """As it was, parameters included."""
    made = overlap(Step(fault="pod-kill", target="m-0", params={"mode": "sigkill"}))
    assert read_schedule(msgspec.json.encode(made)) == made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[]", "no schedule"),
        (b'{"steps": [{"fault": "pod-kill"}]}', "target"),
        (b'{"steps": [{"fault": "pod-kil", "target": "m-0"}]}', "no fault pod-kil"),
        (b'{"steps": [{"fault": "pod-kill", "target": "m-0", "params": {"mod": 1}}]}', "no parameter mod"),
        (b'{"steps": [{"fault": "pod-kill", "target": "m-0", "hold_s": -1}]}', "outside of time"),
    ],
)
def test_what_is_no_schedule_is_refused(text: bytes, why: str) -> None:
    """Before the first fault, not at the third."""
    with pytest.raises(UsageError, match=why):
        read_schedule(text)


@pytest.mark.parametrize(
    "changed",
    [{"per_minute": 0}, {"faults": []}, {"targets": []}, {"faults": ["nope"]}, {"hold_s": (5, 1)}, {"duration_s": 0}],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(changed: dict[str, Any]) -> None:
    """Rather than a schedule without faults."""
    with pytest.raises(UsageError):
        random_schedule(1, **{"duration_s": 60, **DRAW, **changed})


STEP = Step(fault="pod-kill", target="m-0")


@pytest.mark.parametrize(
    ("carried", "strict", "problem"),
    [
        (Carried(), False, "no fault was begun"),
        (Carried(done=[STEP], spans=[FaultSpan(fault="f", target="t")]), True, ""),
        (Carried(done=[STEP], skipped=[Skipped(step=STEP, why="caps")]), False, ""),
        (Carried(done=[STEP], skipped=[Skipped(step=STEP, why="caps")]), True, "1 faults were not begun"),
        (Carried(skipped=[Skipped(step=STEP, why="caps")]), False, "caps"),
        (Carried(done=[STEP], spans=[FaultSpan(fault="f", target="t", error="did not bite")]), False, "did not bite"),
        (Carried(done=[STEP], aborted="aborted by somebody"), False, "aborted by somebody"),
    ],
)
def test_what_proves_nothing_says_so(carried: Carried, strict: bool, problem: str) -> None:
    """A nemesis that did nothing is not a pass; nor is a sequence that was not carried out."""
    found = carried.problem(strict=strict)
    assert problem in found and bool(problem) == bool(found)


def test_the_schedule_is_printed_with_its_seed() -> None:
    """A reader of the log can repeat it."""
    assert random_schedule(7, duration_s=60, **DRAW).lines()[0].endswith("drawn with seed 7")
    assert Schedule(steps=()).lines() == ["schedule: 0 faults, as given"]
