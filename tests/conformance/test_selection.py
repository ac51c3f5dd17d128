"""In which order the conformance tests run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from steadyset.fixtures.conformance.selection import dealt


@dataclass(frozen=True)
class Candidate:
    """A pytest item with the marker `takes`, or without."""

    name: str
    seconds: int = 0

    def get_closest_marker(self, name: str) -> Any:
        return pytest.mark.takes(self.seconds).mark if self.seconds and name == "takes" else None


def test_the_longest_tests_start_first() -> None:
    """Each worker takes an equal share of the list, from the left: two, two and three tests."""
    tests: list[Any] = [
        Candidate("a"),
        Candidate("b", 30),
        Candidate("c"),
        Candidate("d", 110),
        Candidate("e"),
        Candidate("f", 40),
        Candidate("g"),
    ]
    found = dealt(tests, 3)
    assert [t.name for t in found] == ["d", "g", "f", "c", "b", "a", "e"]
    assert sorted(t.name for t in found) == list("abcdefg")
    assert dealt(tests, 1) == sorted(tests, key=lambda t: -t.seconds)
    assert dealt([], 4) == []
