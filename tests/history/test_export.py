"""Export to Jepsen's formats: what is written is read back as the same ops."""

from __future__ import annotations

from pathlib import Path

import pytest

from steadyset.errors import UsageError
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, History, Op, history_of
from steadyset.history.export import export_history
from steadyset.history.imports import import_history
from steadyset.history.txn import encode_txn

HISTORIES = {
    "register": [
        Op("write", 10, 20, OK, 5, key="k", process=0, server="pod-0", epoch=3, session="direct"),
        Op("cas", 12, 30, FAIL, 5, 6, 7, key="k", process=1),
        Op("cas", 31, FOREVER, INFO, 5, 6, key="k", process=1, error="timed out"),
        Op("read", 40, 50, OK, 5, key="k", process=1),
        Op("read", 51, 60, OK, NIL, key="k", process=1),
    ],
    "set": [Op("add", 1, 2, OK, 5), Op("read-all", 3, 4, OK, values=[5], session="final")],
    "queue": [Op("enqueue", 1, 2, OK, 5), Op("dequeue", 3, 4, OK, 5), Op("drain", 5, 6, OK, values=[])],
    "counter": [Op("inc", 1, 2, OK, 1, result=1), Op("read", 3, 4, OK, 1)],
    "bank": [Op("transfer", 1, 2, OK, values=[0, 1, 5])],
    "list-append": [Op("txn", 1, 2, OK, values=encode_txn([(0, 7, [1]), (1, 7, [1])]))],
}


def _rows(history: History) -> list[tuple[object, ...]]:
    rows = []
    for i in range(len(history)):
        numbers = [int(c[i]) for c in (history.start, history.end, history.outcome, history.value, history.value2)]
        names = [history.name(column, i) for column in ("f", "key", "session", "server", "error")]
        rows.append(
            (*numbers, *names, int(history.result[i]), int(history.epoch[i]), tuple(history.values(i).tolist()))
        )
    return rows


@pytest.mark.parametrize("suffix", [".edn", ".jsonl"])
@pytest.mark.parametrize("model", HISTORIES)
def test_round_trip(tmp_path: Path, model: str, suffix: str) -> None:
    """Goal: every field survives export and import; a process whose op stayed unknown goes on under a new number."""
    path = tmp_path / f"h{suffix}"
    before = history_of(HISTORIES[model])
    export_history(before, path)
    after = import_history(path, model)
    assert _rows(before) == [
        (*row[:1], row[1], *row[2:5], "read-all" if model in ("set", "bank") and row[5] == "read" else row[5], *row[6:])
        for row in _rows(after)
    ]
    if model == "register":
        assert after.process[2] == 1 and after.process[3] != 1


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    """Goal: a file name that names no format is an error."""
    with pytest.raises(UsageError, match="cannot export"):
        export_history(history_of([]), tmp_path / "h.txt")


def test_a_process_that_goes_on_at_once_stays_readable(tmp_path: Path) -> None:
    """Goal: an op that begins at the very instant its process's last one ended is no overlap."""
    export_history(history_of([Op("write", 1, 5, OK, 1), Op("read", 5, 9, OK, 1)]), tmp_path / "h.edn")
    assert import_history(tmp_path / "h.edn", "register").start.tolist() == [1, 6]
