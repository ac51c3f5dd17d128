"""A run's folder: where each kind of evidence lies. Everything `recheck` needs is below it.

runs/<id>/run.json                     parameters, versions, seed (written first)
runs/<id>/scenarios/<slug>.json        one Scenario each, rewritten as the scenario goes on
runs/<id>/trace/<slug>.jsonl           the observer's trace
runs/<id>/history/<slug>/<name>/*.arrows   the recorder's histories (one folder per load.run)
runs/<id>/journals/<slug>-<fault>.json     Chaos Toolkit journals
runs/<id>/logs/<slug>/                 pod logs, events, describe (redacted), on failure
runs/<id>/document.json  index.html  junit.xml  allure-results/
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from steadyset.errors import UsageError
from steadyset.verdict import Judgement, Verdict, worst


class FaultSpan(msgspec.Struct, kw_only=True):
    """One fault as it really happened; times are CLOCK_MONOTONIC nanoseconds (0 = did not happen)."""

    fault: str
    target: str
    inject_ns: int = 0
    bitten_ns: int = 0
    heal_ns: int = 0
    healed_ns: int = 0
    bite: list[str] = []  # evidence lines that it bit
    healing: list[str] = []  # evidence lines that it healed
    error: str = ""  # why it did not bite, or did not heal
    journal: str = ""  # relative path


class Planned(msgspec.Struct, kw_only=True):
    """One judgement to make: registry name of the checker or invariant, its parameters, and its evidence."""

    rule: str
    params: dict[str, Any] = {}
    history: str = ""  # relative folder of the history, for checkers


class Scenario(msgspec.Struct, kw_only=True):
    """One test that put a stack under load and fault: everything needed to judge it again."""

    slug: str
    title: str
    test_id: str
    goal: str = ""
    suite: str = ""
    requirements: list[str] = []  # ids of the promises that it covers, for conformance tests
    stack: str = ""
    variant: str = ""
    namespace: str = ""
    statefulsets: list[str] = []
    start_ns: int = 0
    end_ns: int = 0
    wall_start: str = ""  # ISO 8601 UTC at start_ns
    faults: list[FaultSpan] = []
    trace: str = ""  # relative path
    histories: list[str] = []  # relative folders
    planned: list[Planned] = []
    judgements: list[Judgement] = []
    expected: str = ""  # for negative controls: the verdict and rule that must come out, "FAIL:set-durability"
    metrics: dict[str, Any] = {}
    outcome: str = ""  # pytest outcome: passed / failed / skipped / error; "" while running
    reason: str = ""  # of a skip or an error
    logs: list[str] = []

    def verdict(self) -> Verdict:
        """Worst of the judgements; a fault that did not bite makes it at least INVALID, a crash ERROR."""
        found = [j.verdict for j in self.judgements]
        if any(f.error for f in self.faults):
            found.append(Verdict.INVALID)
        if self.outcome == "error":
            found.append(Verdict.ERROR)
        return worst(found)


class RunDir:
    """Paths of one run and the reading and writing of its small JSON files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, base: Path, params: dict[str, Any], run_id: str = "") -> RunDir:
        """Make runs/<id>/ and write run.json. The id sorts by time."""
        run_id = run_id or time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
        path = base / run_id
        for sub in ("scenarios", "trace", "history", "journals", "logs", "allure-results"):
            (path / sub).mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.write_json("run.json", {"id": run_id, **params})
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run; UsageError when `path` holds none."""
        if not (path / "run.json").is_file():
            raise UsageError(f"{path} is not a run", expected="a folder with run.json in it", do="ls runs/")
        return cls(path)

    def params(self) -> dict[str, Any]:
        """run.json's content."""
        try:
            return msgspec.json.decode((self.path / "run.json").read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UsageError(f"{self.path / 'run.json'} is damaged: {error}") from None

    def write_json(self, name: str, value: object) -> None:
        """Write a JSON file below the run atomically; several processes and threads may, and the last wins."""
        target = self.path / name
        temporary = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
        temporary.rename(target)

    def save(self, scenario: Scenario) -> None:
        """Write scenarios/<slug>.json."""
        self.write_json(f"scenarios/{scenario.slug}.json", scenario)

    def scenarios(self) -> list[Scenario]:
        """Every scenario of the run, in order of start."""
        found = []
        for path in sorted((self.path / "scenarios").glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Scenario))
            except msgspec.DecodeError as error:
                raise UsageError(f"{path} is damaged: {error}", do="delete it to judge the rest") from None
        return sorted(found, key=lambda s: s.start_ns)
