"""The document: verdicts that count, lanes and series to draw, and damaged evidence that is told, not hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steadyset.errors import UsageError
from steadyset.judge import judge
from steadyset.reports.document import build_document, final_verdict, load_document, write_document
from steadyset.reports.publish import publish, recheck
from steadyset.rundir import FaultSpan, RunDir, Scenario
from steadyset.verdict import Judgement, Verdict


def judged(run: RunDir) -> dict[str, Any]:
    """The document of a run judged for the first time."""
    for scenario in run.scenarios():
        if scenario.outcome != "skipped":
            scenario.judgements = judge(run, scenario)
            run.save(scenario)
    return publish(run)


def by_slug(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Scenarios by slug."""
    return {s["slug"]: s for s in document["scenarios"]}


def test_every_kind_of_ending_gets_the_verdict_that_counts(made_run: RunDir) -> None:
    """Met controls pass, loss fails, a fault that did not bite proves nothing, a skip is counted."""
    document = judged(made_run)
    assert {slug: s["verdict"] for slug, s in by_slug(document).items()} == {
        "kill-primary": "PASS",
        "partition-async": "PASS",
        "paused-promote": "PASS",
        "lossy": "FAIL",
        "aimed-at-nothing": "INVALID",
    }
    assert (document["verdict"], document["exit_code"]) == ("FAIL", 1)
    assert document["counts"]["not_tested"] == 1
    assert document["not_tested"][0]["reason"] == "fault node-off needs node-power"
    assert by_slug(document)["partition-async"]["own_verdict"] == "FAIL"
    assert by_slug(document)["partition-async"]["why"] == "negative control: failed as it must"


def test_a_control_that_does_not_fail_is_a_failure(good_run: RunDir) -> None:
    """The instrument missed a harm that is there."""
    scenario = good_run.scenarios()[0]
    scenario.expected = "FAIL:set-durability"
    good_run.save(scenario)
    document = judged(good_run)
    assert document["verdict"] == "FAIL"
    assert "did not fail as it must" in document["scenarios"][0]["why"]


def scenario(**fields: Any) -> Scenario:
    """A scenario with one passing judgement."""
    passing = Judgement(rule="r", verdict=Verdict.PASS, claim="c", summary="s")
    return Scenario(**{"slug": "s", "title": "t", "test_id": "i", "judgements": [passing], **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"outcome": "passed"}, "PASS"),
        ({"outcome": ""}, "INVALID"),
        ({"outcome": "", "expected": "FAIL:r"}, "INVALID"),
        ({"outcome": "failed", "reason": "assert 2 == 3"}, "FAIL"),
        ({"outcome": "error", "reason": "Locust died"}, "ERROR"),
        ({"outcome": "passed", "judgements": []}, "INVALID"),
        ({"outcome": "passed", "faults": [FaultSpan(fault="f", target="t", error="did not bite")]}, "INVALID"),
        ({"outcome": "passed", "expected": "FAIL:r"}, "FAIL"),
        ({"outcome": "error", "expected": "FAIL:r", "reason": "x"}, "ERROR"),
    ],
)
def test_only_a_finished_scenario_with_evidence_certifies(fields: dict[str, Any], expected: str) -> None:
    """Whatever is missing, the verdict is no PASS."""
    assert final_verdict(scenario(**fields))[0] == expected


def test_nothing_tested_certifies_nothing(tmp_path: Path) -> None:
    """A run without scenarios, or of skips alone, is INVALID."""
    run = RunDir.create(tmp_path, {}, run_id="empty")
    assert build_document(run)["verdict"] == "INVALID"
    run.save(scenario(outcome="skipped", reason="no cluster"))
    document = build_document(run)
    assert (document["verdict"], document["exit_code"], document["counts"]["not_tested"]) == ("INVALID", 3, 1)


def test_lanes_and_series_hold_what_the_page_draws(good_run: RunDir) -> None:
    """Pod states with node and UID, node-side spans, attachments, Services, epochs, gaps."""
    found = judged(good_run)["scenarios"][0]
    primary = found["pods"][0]
    assert [(s["label"], s["node"], s["uid"]) for s in primary["states"]] == [
        ("Ready", "n1", "uid-0a"),
        ("Terminating", "n1", "uid-0a"),
        ("Pending", "", "uid-0b"),
        ("ContainerCreating", "n3", "uid-0b"),
        ("NotReady", "n3", "uid-0b"),
        ("Ready", "n3", "uid-0b"),
    ]
    assert [(s["node"], s["from"], s["until"]) for s in primary["containers"]] == [
        ("n1", -30, 10.4),
        ("n3", 14.2, None),
    ]
    assert [(s["node"], s["from"], s["until"]) for s in primary["mounts"]] == [("n1", -31, 10.9), ("n3", 13.6, None)]
    assert [(s["label"], s["node"], s["from"]) for s in found["attachments"][0]["states"]] == [
        ("Attached", "n1", 0),
        ("Attaching", "n3", 11.8),
        ("Attached", "n3", 13),
    ]
    assert [(c["at"], c["pods"]) for c in found["services"]] == [(0, ["pg-0"]), (15, ["pg-1"])]
    assert [(a["server"], a["epoch"]) for a in found["acks"]] == [("pg-0", 3), ("pg-1", 4)]
    assert [(g["kind"], g["from"], g["until"]) for g in found["gaps"]] == [("Pod", 14.6, 16.2)]
    series = found["series"]
    assert (series["bucket_s"], series["buckets"]) == (0.5, 80)
    totals = {(r["kind"], r["outcome"]): r["total"] for r in series["rates"]}
    drawn = sum(sum(r["per_s"]) for r in series["rates"]) * series["bucket_s"]
    assert drawn == pytest.approx(sum(totals.values()), rel=0.01)
    assert series["latency_ms"]["p99"][24] is None
    assert found["faults"][0]["inject"] == 10


def test_a_split_brain_shows_as_two_servers_acknowledging_at_once(made_run: RunDir) -> None:
    """The old epoch's span goes on beside the new one's."""
    acks = by_slug(judged(made_run))["paused-promote"]["acks"]
    old = max(a["until"] for a in acks if a["epoch"] == 3)
    new = min(a["from"] for a in acks if a["epoch"] == 4)
    assert old - new > 5


def test_what_is_damaged_is_told_and_the_rest_is_judged(good_run: RunDir) -> None:
    """A killed runner: no outcome, no end, a torn trace and a torn history."""
    scenario = good_run.scenarios()[0]
    scenario.outcome, scenario.end_ns = "", 0
    good_run.save(scenario)
    trace = good_run.path / scenario.trace
    trace.write_bytes(trace.read_bytes()[:-20])
    history = good_run.path / "history/kill-primary/load/locust-1.arrows"
    history.write_bytes(history.read_bytes()[:-8])
    document = recheck(good_run)
    found = document["scenarios"][0]
    assert (found["verdict"], found["outcome"], document["exit_code"]) == ("INVALID", "interrupted", 3)
    assert any("torn last line" in problem for problem in found["problems"])
    assert any("died before it closed" in problem for problem in found["problems"])
    assert found["judgements"][0]["observed"]["acknowledged"] > 1000
    assert found["seconds"] > 38


def test_evidence_that_is_not_there_is_an_error_not_a_crash(good_run: RunDir) -> None:
    """The trace was deleted, and so was the history."""
    scenario = good_run.scenarios()[0]
    (good_run.path / scenario.trace).unlink()
    (good_run.path / "history/kill-primary/load/locust-1.arrows").unlink()
    found = recheck(good_run)["scenarios"][0]
    assert found["verdict"] == "ERROR"
    assert len(found["problems"]) == 2
    assert (found["series"], found["pods"]) == (None, [])


def test_a_flipped_bit_is_told_and_the_rest_is_shown(good_run: RunDir) -> None:
    """Whatever the readers make of a damaged history, the trace is still drawn, and nothing passes."""
    history = good_run.path / "history/kill-primary/load/locust-1.arrows"
    content = bytearray(history.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    history.write_bytes(content)
    document = recheck(good_run)
    found = document["scenarios"][0]
    assert document["exit_code"] != 0
    assert found["problems"]
    assert [lane["name"] for lane in found["pods"]] == ["pg-0", "pg-1", "pg-2"]


def test_a_document_is_read_back_as_written(good_run: RunDir) -> None:
    """It is plain JSON."""
    document = judged(good_run)
    assert load_document(good_run)["scenarios"][0]["series"] == document["scenarios"][0]["series"]


def test_documents_that_cannot_be_read_say_what_to_do(good_run: RunDir) -> None:
    """None there, damaged, or of another format."""
    with pytest.raises(UsageError, match="steadyset recheck"):
        load_document(good_run)
    write_document(good_run, {"format": 99})
    with pytest.raises(UsageError, match="another format"):
        load_document(good_run)
    (good_run.path / "document.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        load_document(good_run)
