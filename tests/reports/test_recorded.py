"""Recorded runs of a real cluster, good and bad, are judged again as they were: old evidence stays readable."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from steadyset.reports.publish import open_run, recheck

RECORDED = Path(__file__).parent.parent / "testdata" / "recorded"


def judged_again(name: str, folder: Path) -> dict[str, Any]:
    """The document of a recorded run, judged with today's rules."""
    with tarfile.open(RECORDED / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return recheck(open_run(folder / name))


def verdicts(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What each rule said, by scenario."""
    return {s["slug"]: {j["rule"]: str(j["verdict"]) for j in s["judgements"]} for s in document["scenarios"]}


def test_a_killed_member_that_kept_every_promise(tmp_path: Path) -> None:
    """The probe's second member, killed under load on three nodes: PASS by every rule, and how long it took."""
    document = judged_again("probe-good", tmp_path)
    found = document["scenarios"][0]
    assert (document["verdict"], document["changes"]) == ("PASS", {})
    assert set(verdicts(document)["member-is-killed"].values()) == {"PASS"}
    measured = found["metrics"]["faults"][0]
    stages = ("detect_s", "reschedule_s", "attach_s", "ready_s", "first_ack_s", "label_lag_s", "without_acks_s")
    assert {name: measured[name] for name in stages} == {
        "detect_s": 0.014,
        "reschedule_s": 0.321,
        "attach_s": None,
        "ready_s": 1.915,
        "first_ack_s": 2.894,
        "label_lag_s": -0.933,
        "without_acks_s": 2.959,
    }
    assert sorted((ack["server"], ack["epoch"]) for ack in found["acks"]) == [
        ("probe-0", 1),
        ("probe-1", 1),
        ("probe-1", 2),
        ("probe-2", 1),
    ]


@pytest.mark.parametrize(
    ("slug", "expected", "words"),
    [
        ("emptydir-poses-as-a-volume", {"pvc-retention": "FAIL", "set-durability": "FAIL"}, "157 of 627"),
        ("forced-deletion-on-a-cut-node", {"at-most-one-per-identity": "FAIL"}, "12.310 s"),
    ],
)
def test_recorded_harm_is_found_again(tmp_path: Path, slug: str, expected: dict[str, str], words: str) -> None:
    """Negative controls: an emptyDir in the place of a claim, and a pod that ran twice; each with its figure."""
    document = judged_again("probe-bad", tmp_path)
    assert document["verdict"] == "PASS"  # every control failed as it must
    found = verdicts(document)[slug]
    assert {rule: found[rule] for rule in expected} == expected
    scenario = next(s for s in document["scenarios"] if s["slug"] == slug)
    assert (scenario["own_verdict"], scenario["verdict"]) == ("FAIL", "PASS")
    assert words in " ".join(j["summary"] for j in scenario["judgements"])


def test_a_recorded_fault_that_did_not_bite_proves_nothing(tmp_path: Path) -> None:
    """The partition was aimed at nothing; its own verdict is INVALID, and the reason is told."""
    document = judged_again("probe-bad", tmp_path)
    scenario = next(s for s in document["scenarios"] if s["slug"] == "partition-aimed-at-nothing")
    assert scenario["own_verdict"] == "INVALID"
    assert scenario["faults"][0]["error"]


def test_harm_that_goes_unexpected_fails_the_run(tmp_path: Path) -> None:
    """The same evidence without the expectation is a FAIL."""
    judged_again("probe-bad", tmp_path)
    run = open_run(tmp_path / "probe-bad")
    for scenario in run.scenarios():
        scenario.expected = ""
        run.save(scenario)
    assert recheck(run)["exit_code"] == 1
