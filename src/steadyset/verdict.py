"""The verdict lattice: PASS < INVALID < FAIL < ERROR in severity, and worst wins.

A judgement says what was claimed, what was decided, and on which evidence. Only PASS certifies.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec


class Verdict(StrEnum):
    """Outcome of one judgement, a scenario or a run."""

    PASS = "PASS"
    INVALID = "INVALID"  # the fault did not bite, or too little was observed: proves nothing
    FAIL = "FAIL"
    ERROR = "ERROR"  # the instrument broke

    @property
    def exit_code(self) -> int:
        """Process exit code: 0 PASS, 1 FAIL, 3 INVALID, 4 ERROR."""
        return {"PASS": 0, "FAIL": 1, "INVALID": 3, "ERROR": 4}[self.value]


_SEVERITY = [Verdict.PASS, Verdict.INVALID, Verdict.FAIL, Verdict.ERROR]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe of the verdicts; INVALID when there are none, since nothing was shown."""
    return max(verdicts, key=_SEVERITY.index, default=Verdict.INVALID)


class Judgement(msgspec.Struct, kw_only=True):
    """One verdict with its evidence.

    `rule` is the stable name of the checker or invariant that judged. `claim` is the guarantee in one sentence.
    `summary` says why, in one sentence. `witness` is the minimal evidence, one human-readable line each.
    `observed` counts how much was looked at. `data` holds machine-readable details (overlap_s, lost values, ...).
    `spans` are (start_ns, end_ns, label) on the run's monotonic clock, for drawing.
    """

    rule: str
    verdict: Verdict
    claim: str
    summary: str
    witness: list[str] = []
    observed: dict[str, float] = {}
    data: dict[str, Any] = {}
    spans: list[tuple[int, int, str]] = []
