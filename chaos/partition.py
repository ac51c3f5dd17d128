"""The grammar of partitions: which members' packets are dropped on the way to which others. Pure functions.

Shapes are Jepsen's. A cut is a pair (from, to): packets of `from` do not reach `to`. Each shape takes the members and
the target, and says which members are on the target's side (those that planes outside the members are cut from).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from steadyset.errors import UsageError

Cuts = frozenset[tuple[str, str]]
DIRECTIONS = ("both", "out", "in")


class Partition(msgspec.Struct, kw_only=True, frozen=True):
    """Directed cuts among members, and the members on the target's side."""

    cuts: Cuts
    side: tuple[str, ...]


def complete(components: Sequence[Sequence[str]]) -> Cuts:
    """Nobody reaches anybody of another component."""
    return frozenset(
        (a, b) for one in components for other in components if one is not other for a in one for b in other
    )


def isolate(members: Sequence[str], target: str) -> Partition:
    """The target alone against all others."""
    rest = _others(members, target, least=2, shape="isolate")
    return Partition(cuts=complete([[target], rest]), side=(target,))


def halves(members: Sequence[str], target: str) -> Partition:
    """The target in the smaller half (with an odd number: one member less) against the rest."""
    rest = _others(members, target, least=2, shape="halves")
    side = [target, *rest[: len(members) // 2 - 1]]
    return Partition(cuts=complete([side, [m for m in rest if m not in side]]), side=tuple(side))


def majority(members: Sequence[str], target: str) -> Partition:
    """The target in a bare majority against the minority."""
    rest = _others(members, target, least=3, shape="majority")
    side = [target, *rest[: len(members) // 2]]
    return Partition(cuts=complete([side, [m for m in rest if m not in side]]), side=tuple(side))


def minority_third(members: Sequence[str], target: str) -> Partition:
    """The target in a group of less than a third of the members against the rest."""
    rest = _others(members, target, least=4, shape="minority-third")
    side = [target, *rest[: (len(members) - 1) // 3 - 1]]
    return Partition(cuts=complete([side, [m for m in rest if m not in side]]), side=tuple(side))


def bridge(members: Sequence[str], target: str) -> Partition:
    """Two halves that do not reach each other; the target reaches both."""
    rest = _others(members, target, least=3, shape="bridge")
    middle = len(rest) // 2
    return Partition(cuts=complete([rest[:middle], rest[middle:]]), side=(target,))


def majorities_ring(members: Sequence[str], target: str) -> Partition:
    """Everybody reaches a majority, and no two the same one: only the nearest on a ring reach each other."""
    ring = [target, *_others(members, target, least=4, shape="majorities-ring")]
    size = len(ring)
    reach = -(-(size // 2) // 2)  # neighbours on each side that make up a majority, oneself included
    cuts = frozenset(
        (ring[i], ring[j])
        for i in range(size)
        for j in range(size)
        if i != j and min((i - j) % size, (j - i) % size) > reach
    )
    return Partition(cuts=cuts, side=(target,))


def primaries(members: Sequence[str], targets: Sequence[str]) -> Partition:
    """Each of the targets alone, cut from the others and from the rest."""
    if len(set(members)) < 2:
        _others(members, targets[0], least=2, shape="primaries")
    rest = [m for m in members if m not in targets]
    return Partition(cuts=complete([*[[t] for t in targets], rest]), side=tuple(targets))


SHAPES: dict[str, Callable[[Sequence[str], str], Partition]] = {
    "isolate": isolate,
    "one": isolate,
    "halves": halves,
    "majority": majority,
    "minority-third": minority_third,
    "bridge": bridge,
    "majorities-ring": majorities_ring,
}


def shape_named(name: str) -> Callable[[Sequence[str], str], Partition]:
    """The shape of that name; UsageError lists those there are."""
    if name not in SHAPES:
        raise UsageError(f"no partition shape {name}", expected=f"one of: {', '.join(SHAPES)}, primaries", seen=name)
    return SHAPES[name]


def partition_of(shape: str, members: Sequence[str], targets: Sequence[str]) -> Partition:
    """The partition of that shape around the targets: one pod, or for `primaries` any number of them."""
    if shape == "primaries":
        return primaries(members, targets)
    return shape_named(shape)(members, targets[0])


def one_way(partition: Partition, direction: str) -> Partition:
    """Only the packets that leave ("out") or only those that enter ("in") the target's side are dropped."""
    if direction not in DIRECTIONS:
        raise UsageError(f"no direction {direction}", expected=f"one of: {', '.join(DIRECTIONS)}", seen=direction)
    if direction == "both":
        return partition
    end = 0 if direction == "out" else 1
    return Partition(cuts=frozenset(c for c in partition.cuts if c[end] in partition.side), side=partition.side)


def outside(side: Iterable[str], names: Iterable[str], direction: str) -> Cuts:
    """Cuts between the target's side and things that are no members (API server, clients, DNS)."""
    cuts = set()
    for member in side:
        for name in names:
            if direction in ("both", "out"):
                cuts.add((member, name))
            if direction in ("both", "in"):
                cuts.add((name, member))
    return frozenset(cuts)


def _others(members: Sequence[str], target: str, least: int, shape: str) -> list[str]:
    if target not in members:
        raise UsageError(f"{target} is not among the members of the partition", seen=", ".join(members) or "no members")
    if len(set(members)) < least:
        raise UsageError(
            f"partition shape {shape} cannot be made",
            expected=f"at least {least} members",
            seen=", ".join(members),
            do="choose another shape or more peers",
        )
    return [m for m in members if m != target]
