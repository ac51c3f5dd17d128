"""The drawing: what must be seen on it, at the place where it happened."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from steadyset.reports.publish import recheck
from steadyset.reports.timeline import GUTTER_PX, WIDTHS, timeline_svg
from steadyset.rundir import RunDir

SECONDS = 40


@pytest.fixture
def scenario(good_run: RunDir) -> dict[str, Any]:
    """The document of the made-up kill."""
    found: dict[str, Any] = recheck(good_run)["scenarios"][0]
    assert found["seconds"] == SECONDS
    return found


def drawn(scenario: dict[str, Any], class_: str, size: str = "wide") -> list[ElementTree.Element]:
    """Elements with exactly this class."""
    return [e for e in ElementTree.fromstring(timeline_svg(scenario, size)).iter() if e.get("class") == class_]


def place(element: ElementTree.Element, size: str = "wide") -> tuple[float, float]:
    """(from, until) of a box on the time axis, in seconds."""
    left = GUTTER_PX[size]
    per_second = (WIDTHS[size] - left - 8) / SECONDS
    x, width = float(element.get("x", 0)), float(element.get("width", 0))
    return round((x - left) / per_second, 1), round((x + width - left) / per_second, 1)


@pytest.mark.parametrize("size", WIDTHS)
def test_every_width_shows_fault_states_gap_and_silence_at_their_times(scenario: dict[str, Any], size: str) -> None:
    """On one time axis, in each of the widths of which the page shows one."""
    near = {"abs": 0.15}
    assert [place(e, size) for e in drawn(scenario, "band", size)] == [pytest.approx((10, 17.4), **near)]
    assert [place(e, size) for e in drawn(scenario, "gap", size)] == [pytest.approx((14.6, 16.2), **near)]
    assert [place(e, size) for e in drawn(scenario, "bar s-ContainerCreating", size)] == [
        pytest.approx((11.5, 14.4), **near)
    ]
    assert [place(e, size) for e in drawn(scenario, "silence", size)] == [pytest.approx((10.1, 14.2), **near)]
    letters = "".join(sorted(e.text or "" for e in drawn(scenario, "stage-letter", size)))
    assert letters == "DLRSVW"


def test_two_incarnations_at_once_are_seen_as_two(scenario: dict[str, Any]) -> None:
    """The old container still runs when the new one does: their lines do not cover each other."""
    pod = scenario["pods"][0]
    pod["containers"][0]["until"] = 30
    rows = {e.get("y") for e in drawn({**scenario, "pods": [pod]}, "container")}
    assert len(rows) == 2


def test_a_fault_that_did_not_bite_is_marked(scenario: dict[str, Any]) -> None:
    """Hatched, and said so."""
    scenario["faults"][0]["bitten"] = None
    assert len(drawn(scenario, "band nobite")) == 1
    assert "did not bite" in (drawn(scenario, "fault-name")[0].text or "")


def test_gaps_of_kinds_without_a_lane_are_not_drawn_over_others(scenario: dict[str, Any]) -> None:
    """They are listed below the drawing."""
    scenario["gaps"][0]["kind"] = "Event"
    assert drawn(scenario, "gap") == []


def test_a_scenario_without_evidence_has_no_drawing(scenario: dict[str, Any]) -> None:
    """Rather than an empty one."""
    assert timeline_svg({**scenario, "seconds": 0}, "wide") == ""
    bare = {"series": None, "acks": [], "pods": [], "attachments": [], "services": [], "gaps": [], "faults": []}
    assert "<svg" in timeline_svg({**scenario, **bare}, "narrow")


def test_the_set_up_before_the_first_evidence_is_not_drawn(good_run: RunDir) -> None:
    """A stack that took a minute to deploy would squeeze everything else."""
    saved = good_run.scenarios()[0]
    saved.start_ns -= 60 * 1_000_000_000
    good_run.save(saved)
    found = recheck(good_run)["scenarios"][0]
    assert (found["took_s"], found["seconds"]) == (100, 40.5)
