"""The arithmetic of what is left, as the plan prints it and the caps decide by it."""

from __future__ import annotations

import pytest

from steadyset.chaos.partition import SHAPES, isolate
from steadyset.chaos.quorum import loss, share_of
from steadyset.errors import UsageError

THREE = ("pg-0", "pg-1", "pg-2")
FIVE = ("m-0", "m-1", "m-2", "m-3", "m-4")


@pytest.mark.parametrize(
    ("share", "total", "allowed"),
    [
        ("minority", 1, 0),  # a majority of one
        ("minority", 2, 0),
        ("minority", 3, 1),
        ("minority", 4, 1),
        ("minority", 5, 2),
        ("all", 3, 3),
        ("2", 3, 2),
        ("50%", 3, 1),
        ("100%", 3, 3),
        ("0", 3, 0),
    ],
)
def test_shares(share: str, total: int, allowed: int) -> None:
    """The default leaves a majority."""
    assert share_of(share, total, "max-pods") == allowed


@pytest.mark.parametrize("share", ["", "half", "-1", "120%", "0.5", "%"])
def test_what_is_no_share_is_refused(share: str) -> None:
    """Rather than understood in some way."""
    with pytest.raises(UsageError, match="max-pods"):
        share_of(share, 3, "max-pods")


def test_one_of_three() -> None:
    """A majority remains."""
    said = str(loss("StatefulSet pg", THREE, ["pg-0"], verb="killed"))
    assert said == "StatefulSet pg: 3 members, 1 killed (pg-0), majority of 2 remains: writes should go on"


def test_one_of_three_while_another_is_down() -> None:
    """What is down already counts."""
    said = str(loss("StatefulSet pg", THREE, ["pg-0"], ["pg-2", "other"]))
    assert said == "StatefulSet pg: 3 members, 1 hit (pg-0), 1 down already (pg-2), leaves 1 of 3: no majority"


def test_one_of_one() -> None:
    """A majority of one is nobody's to lose."""
    assert str(loss("Pod a", ["a"], ["a"])) == "Pod a: 1 member, 1 hit (a), leaves 0 of 1: no majority"


def test_replicas_that_are_not_there_are_members_too() -> None:
    """A StatefulSet that wants three and has two pods has lost one."""
    found = loss("StatefulSet pg", THREE[:2], ["pg-0"], wanted=3)
    assert (found.members, found.remaining, found.lost) == (3, 1, 2)


@pytest.mark.parametrize(
    ("shape", "members", "remaining"),
    [
        ("isolate", THREE, 2),
        ("halves", THREE, 2),
        ("halves", FIVE[:4], 2),  # two against two: no majority
        ("majority", THREE, 2),
        ("majority", FIVE, 3),
        ("bridge", THREE, 3),  # the one in the middle reaches both
        ("bridge", FIVE, 5),
        ("majorities-ring", FIVE, 3),  # everybody reaches a majority, and no two the same one
        ("minority-third", FIVE, 4),
    ],
)
def test_partitions(shape: str, members: tuple[str, ...], remaining: int) -> None:
    """What still reaches each other through one member, which a leader would be."""
    found = loss("StatefulSet m", members, [], cuts=SHAPES[shape](members, members[0]).cuts, verb="cut off")
    assert found.remaining == remaining
    assert ("no majority" in str(found)) == (remaining <= len(members) // 2)


def test_one_way_cuts_count() -> None:
    """A member whose answers are lost is lost."""
    one_way = frozenset(cut for cut in isolate(THREE, "pg-0").cuts if cut[0] == "pg-0")
    found = loss("StatefulSet pg", THREE, [], cuts=one_way, verb="cut off")
    assert (found.hit, found.remaining) == (("pg-0",), 2)
