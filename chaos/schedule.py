"""Faults in time: sequences, overlaps, and random schedules that a seed reproduces. Pure: nothing is injected here."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from steadyset.chaos.faults import fault_named
from steadyset.chaos.plan import check_params
from steadyset.errors import UsageError

HOLD_S = (2.0, 10.0)  # how long a drawn fault is held
JITTER = 0.5  # the gap before the next fault varies by this share around what the rate asks for


class Step(msgspec.Struct, kw_only=True, frozen=True):
    """One fault of a schedule: `at_s` seconds after its start, held for `hold_s` seconds once its bite is proven."""

    fault: str
    target: str
    at_s: float = 0.0
    hold_s: float = 5.0
    params: dict[str, Any] = {}

    def __str__(self) -> str:
        params = "".join(f" {name}={value}" for name, value in self.params.items())
        return f"{self.at_s:7.2f} s  {self.fault}{params} on {self.target}, held {self.hold_s:g} s"


class Schedule(msgspec.Struct, kw_only=True, frozen=True):
    """Steps in order of their time, and the seed they were drawn with (0: written by hand)."""

    steps: tuple[Step, ...]
    seed: int = 0

    def lines(self) -> list[str]:
        """The schedule in words, one line a step."""
        drawn = f"drawn with seed {self.seed}" if self.seed else "as given"
        return [f"schedule: {len(self.steps)} faults, {drawn}", *(str(step) for step in self.steps)]


def sequence(*steps: Step, gap_s: float = 0.0) -> Schedule:
    """One fault after the other: each begins `gap_s` seconds after the one before it was released.

    A step's own `at_s` is added. Faults that take longer to bite than planned shift nothing: then two overlap.
    """
    placed, now = [], 0.0
    for step in steps:
        placed.append(msgspec.structs.replace(step, at_s=now + step.at_s))
        now = placed[-1].at_s + step.hold_s + gap_s
    return checked(Schedule(steps=tuple(placed)))


def overlap(*steps: Step) -> Schedule:
    """Every step at its own `at_s`, whatever else goes on then."""
    return checked(Schedule(steps=tuple(sorted(steps, key=lambda step: step.at_s))))


def endless(
    seed: int,
    *,
    faults: Sequence[str],
    targets: Sequence[str],
    per_minute: float,
    hold_s: tuple[float, float] = HOLD_S,
) -> Iterator[Step]:
    """Steps at `per_minute` on average, fault, target, gap and hold drawn anew for each; the seed decides them all.

    The same arguments give the same steps on every machine (Mersenne Twister, targets in the order given).
    UsageError for nothing to draw from, a rate or a hold that is no time.
    """
    _check_draw(faults, targets, per_minute, hold_s)
    draw, now = random.Random(seed), 0.0
    while True:
        now += 60.0 / per_minute * draw.uniform(1 - JITTER, 1 + JITTER)
        yield Step(
            fault=draw.choice(faults),
            target=draw.choice(targets),
            at_s=round(now, 2),
            hold_s=round(draw.uniform(*hold_s), 2),
        )


def random_schedule(
    seed: int,
    *,
    faults: Sequence[str],
    targets: Sequence[str],
    per_minute: float,
    duration_s: float,
    hold_s: tuple[float, float] = HOLD_S,
) -> Schedule:
    """The steps of `endless` that begin within `duration_s` seconds."""
    if duration_s <= 0:
        raise UsageError(f"a schedule of {duration_s:g} s has no time for a fault", expected="seconds, more than 0")
    steps = endless(seed, faults=faults, targets=targets, per_minute=per_minute, hold_s=hold_s)
    return Schedule(steps=tuple(takewhile(lambda step: step.at_s < duration_s, steps)), seed=seed)


def checked(schedule: Schedule) -> Schedule:
    """The same schedule; UsageError for an unknown fault or parameter, a step before the start or without a hold."""
    for step in schedule.steps:
        check_params(fault_named(step.fault), step.params)
        if step.at_s < 0 or step.hold_s < 0:
            raise UsageError(f"step {step} lies outside of time", expected="at_s and hold_s of 0 or more")
    return schedule


def read_schedule(text: bytes) -> Schedule:
    """A schedule from JSON, as a run saves it; UsageError says what is wrong with it."""
    try:
        return checked(msgspec.json.decode(text, type=Schedule))
    except msgspec.DecodeError as error:
        raise UsageError(
            f"this is no schedule: {error}", expected='{"seed": 0, "steps": [{"fault", "target", "at_s", "hold_s"}]}'
        ) from None


def _check_draw(faults: Sequence[str], targets: Sequence[str], per_minute: float, hold_s: tuple[float, float]) -> None:
    for name in faults:
        fault_named(name)
    if not faults or not targets:
        raise UsageError("a schedule needs something to draw from", expected="at least one fault and one target")
    if per_minute <= 0:
        raise UsageError(f"{per_minute:g} faults a minute are none", expected="more than 0")
    if not 0 <= hold_s[0] <= hold_s[1]:
        raise UsageError(f"a hold of {hold_s[0]:g} to {hold_s[1]:g} s is none", expected="0 <= shortest <= longest")
