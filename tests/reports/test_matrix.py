"""The matrix of a document: which scenarios are cells, and what is counted of each."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from steadyset.reports.html import seconds
from steadyset.reports.matrix import harm, matrix_rows, recovery
from steadyset.reports.terminal import _matrix


def scenario(cell: str, *judgements: dict[str, Any], **fault: float | None) -> dict[str, Any]:
    return {
        "slug": f"matrix-{cell}",
        "stack": "redis",
        "variant": "",
        "verdict": "PASS",
        "metrics": {"faults": [fault] if fault else [], **({"cell": cell} if cell else {})},
        "judgements": list(judgements),
    }


def judged(rule: str, observed: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return {"rule": rule, "verdict": "FAIL", "observed": observed or {}, "data": data}


def test_only_cells_are_rows() -> None:
    """A scenario that is no cell of the matrix has no row."""
    rows = matrix_rows([scenario(""), scenario("kill-all", without_acks_s=3.0, ready_s=None, first_ack_s=2.0)])
    assert [row["cell"] for row in rows] == ["kill-all"]
    assert rows[0]["without_acks_s"] == 3.0
    assert recovery(rows[0], seconds) == "first write acknowledged anew 2.00 s"
    restarted = scenario("rolling-restart")
    restarted["metrics"]["restart_without_acks_s"] = 0.5
    assert [row["without_acks_s"] for row in matrix_rows([restarted, scenario("rolling-restart")])] == [0.5, None]


def test_harm_is_counted_by_the_rules_that_judged() -> None:
    """Lost (as granted or not), duplicated and reordered come from the rules; nobody counting is no zero."""
    store = judged("set-durability", lost=[["k", 1]], lost_count=1, lost_within_window=4, duplicate=[])
    queue = judged("durable-log", {"duplicates": 2}, lost=[], lost_count=0, kinds=["reordered", "reordered"])
    rows = matrix_rows(
        [
            scenario("halves", store, judged("split-brain", overlap_s=1.5), without_acks_s=9.0),
            scenario("isolate-primary", queue),
            scenario("rolling-restart", judged("set-durability")),
        ]
    )
    assert [harm(row) for row in rows] == ["5 lost, 4 of them as granted", "2 duplicated, 2 reordered", "–"]
    assert (rows[0]["overlap_s"], rows[1]["overlap_s"]) == (1.5, None)


def test_the_terminal_shows_every_cell() -> None:
    """One line per cell with stack, fault, verdict and figures."""
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(_matrix(matrix_rows([scenario("kill-all", without_acks_s=3.0), scenario("drain-primary")])))
    lines = [line for line in console.export_text().splitlines() if "redis" in line]
    assert ["kill-all" in lines[0], "3.00 s" in lines[0], "drain-primary" in lines[1]] == [True, True, True]
