"""The grammar of partitions."""

from __future__ import annotations

import pytest

from steadyset.chaos.partition import SHAPES, complete, one_way, outside, partition_of, shape_named
from steadyset.errors import UsageError

FIVE = ["m0", "m1", "m2", "m3", "m4"]


def reached(shape: str, members: list[str], target: str) -> dict[str, set[str]]:
    """Whom each member exchanges packets with in both directions, itself included."""
    cuts = shape_named(shape)(members, target).cuts
    return {a: {b for b in members if (a, b) not in cuts and (b, a) not in cuts} for a in members}


def test_isolate_cuts_only_the_target() -> None:
    """The others still reach each other."""
    assert {"m0": {"m0"}, "m1": {"m1", "m2"}, "m2": {"m1", "m2"}} == reached("isolate", ["m0", "m1", "m2"], "m0")


def test_halves_puts_the_target_on_the_smaller_side() -> None:
    """Five members split two to three."""
    assert shape_named("halves")(FIVE, "m3").side == ("m3", "m0")
    assert {"m0", "m3"} == reached("halves", FIVE, "m3")["m0"]
    assert {"m1", "m2", "m4"} == reached("halves", FIVE, "m3")["m1"]


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
def test_majority_is_bare(size: int) -> None:
    """The target's side is a majority, and one member less would not be."""
    side = shape_named("majority")([f"m{i}" for i in range(size)], "m1").side
    assert len(side) > size / 2 >= len(side) - 1


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9])
def test_majorities_ring_shows_everyone_another_majority(size: int) -> None:
    """Jepsen's definition: everybody reaches a majority, no two reach the same one."""
    members = [f"m{i}" for i in range(size)]
    sides = reached("majorities-ring", members, "m0")
    assert all(len(side) > size / 2 for side in sides.values())
    assert size == len({frozenset(side) for side in sides.values()})


@pytest.mark.parametrize("size", [4, 5, 7, 10])
def test_minority_third_is_less_than_a_third(size: int) -> None:
    """At least the target, less than a third of all."""
    side = shape_named("minority-third")([f"m{i}" for i in range(size)], "m2").side
    assert 1 <= len(side) < size / 3 and side[0] == "m2"


def test_bridge_reaches_both_halves() -> None:
    """Only the target reaches everybody; the halves do not reach each other."""
    sides = reached("bridge", FIVE, "m2")
    assert set(FIVE) == sides["m2"]
    assert {"m0", "m1", "m2"} == sides["m0"] and {"m2", "m3", "m4"} == sides["m4"]


@pytest.mark.parametrize("shape", list(SHAPES))
def test_cuts_are_symmetric_until_made_one_way(shape: str) -> None:
    """Every shape cuts both directions; one_way keeps those that leave, or enter, the target's side."""
    partition = shape_named(shape)(FIVE, "m0")
    assert partition.cuts and {(b, a) for a, b in partition.cuts} == partition.cuts
    leaving, entering = one_way(partition, "out").cuts, one_way(partition, "in").cuts
    assert {(b, a) for a, b in leaving} == entering
    assert all(a in partition.side for a, _ in leaving)


def test_outside_planes_are_cut_from_the_targets_side() -> None:
    """One direction each for out and in, two for both."""
    assert {("m0", "dns")} == outside(["m0"], ["dns"], "out")
    assert {("dns", "m0")} == outside(["m0"], ["dns"], "in")
    assert len(outside(["m0", "m1"], ["dns"], "both")) == 4


@pytest.mark.parametrize(
    ("shape", "members", "target"),
    [
        ("majority", ["m0", "m1"], "m0"),
        ("isolate", ["m0"], "m0"),
        ("majorities-ring", FIVE[:3], "m0"),
        ("isolate", FIVE, "x"),
    ],
)
def test_what_cannot_be_split_is_refused(shape: str, members: list[str], target: str) -> None:
    """A majority of one, a partition of one, a ring of three, a target that is no member."""
    with pytest.raises(UsageError):
        shape_named(shape)(members, target)


def test_unknown_words_are_refused() -> None:
    """With the words that would have been understood."""
    with pytest.raises(UsageError, match="isolate"):
        shape_named("quarters")
    with pytest.raises(UsageError, match="both, out, in"):
        one_way(shape_named("isolate")(FIVE, "m0"), "sideways")


def test_complete_never_cuts_within_a_component() -> None:
    """Members of one component keep each other."""
    assert {("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")} == complete([["a", "b"], ["c"]])


def test_primaries_are_each_alone() -> None:
    """They reach neither one another nor the rest, which still reaches itself."""
    cuts = partition_of("primaries", FIVE, ["m1", "m3"]).cuts
    assert {a for a in FIVE if ("m1", a) not in cuts} == {"m1"}
    assert {a for a in FIVE if ("m0", a) not in cuts} == {"m0", "m2", "m4"}


def test_one_is_isolate() -> None:
    """Jepsen's name for it."""
    assert partition_of("one", FIVE, ["m2"]) == partition_of("isolate", FIVE, ["m2"])
