"""Quorum arithmetic: what is left of a workload when a fault takes some of its members. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from steadyset.chaos.partition import Cuts
from steadyset.errors import UsageError

MINORITY = "minority"  # as many as leave a majority
EVERYTHING = "all"


def share_of(share: str, total: int, name: str) -> int:
    """How many of `total` are within `share`: "minority" (as many as leave a majority), "all", a count, or "N%".

    UsageError, which calls the setting `name`, for anything else.
    """
    text = share.strip().lower()
    if text == MINORITY:
        return max(0, (total - 1) // 2)
    if text == EVERYTHING:
        return total
    number = text.removesuffix("%")
    if number.isdecimal() and (number == text or int(number) <= 100):
        return int(number) if number == text else total * int(number) // 100
    raise UsageError(f"{name} = {share} is no share", expected=f"{MINORITY}, {EVERYTHING}, a count or N%", seen=share)


class Loss(msgspec.Struct, kw_only=True, frozen=True):
    """What a fault takes from one workload: `hit` by it, `down` already (not Ready, or hit by another live fault)."""

    workload: str
    members: int
    hit: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    remaining: int  # members that still reach each other through one of them, themselves included
    verb: str = "hit"

    @property
    def majority(self) -> int:
        """How many members are a majority."""
        return self.members // 2 + 1

    @property
    def lost(self) -> int:
        """How many members are not among the remaining."""
        return self.members - self.remaining

    def __str__(self) -> str:
        parts = [f"{self.members} member{'s' if self.members != 1 else ''}"]
        for names, verb in ((self.hit, self.verb), (self.down, "down already")):
            if names:
                parts.append(f"{len(names)} {verb} ({', '.join(names)})")
        if self.remaining >= self.majority:
            parts.append(f"majority of {self.remaining} remains: writes should go on")
        else:
            parts.append(f"leaves {self.remaining} of {self.members}: no majority")
        return f"{self.workload}: {', '.join(parts)}"


def loss(
    workload: str,
    members: Sequence[str],
    hit: Iterable[str],
    down: Iterable[str] = (),
    *,
    cuts: Cuts = frozenset(),
    verb: str = "hit",
    wanted: int = 0,
) -> Loss:
    """The loss of a workload of `members` (at least `wanted`: its replicas) when `hit` are taken and `cuts` are made.

    A consensus goes on when one member reaches a majority both ways, itself included: that is what remains of a
    partition, be it bridge or ring.
    """
    taken = [m for m in members if m in set(hit)]
    before = [m for m in members if m in set(down) and m not in taken]
    up = [m for m in members if m not in taken and m not in before]

    def reached(member: str) -> list[str]:
        return [m for m in up if m == member or not {(m, member), (member, m)} & cuts]

    side = max((reached(member) for member in up), key=len, default=[])
    apart = [m for m in up if m not in side]
    return Loss(
        workload=workload,
        members=max(len(members), wanted),
        hit=tuple(sorted([*taken, *apart])),
        down=tuple(before),
        remaining=len(side),
        verb=verb,
    )
