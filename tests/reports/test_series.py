"""Series: what the clients saw, per bucket and per server."""

from __future__ import annotations

import pytest

from steadyset.history import FAIL, FOREVER, INFO, OK, Op, history_of
from steadyset.reports import series

S = 1_000_000_000


def op(at: float, took: float = 0.1, outcome: int = OK, session: str = "service:primary", f: str = "add") -> Op:
    """One operation sent at `at` seconds."""
    start = round(at * S)
    end = FOREVER if outcome == INFO else start + round(took * S)
    return Op(f, start, end, outcome, 1, session=session, server="a", epoch=1)


def test_final_reads_are_no_load() -> None:
    """They come after the load and would stretch every figure."""
    assert len(series.ops_of([history_of([op(1), op(99, session="final", f="read-all")])])) == 1


@pytest.mark.parametrize(
    ("session", "kind", "member"),
    [
        ("service:primary", "service", "primary"),
        ("direct:pg-0#3", "direct", "pg-0"),
        ("service", "service", ""),
        ("", "service", ""),
    ],
)
def test_sessions_tell_their_kind_and_whom_they_go_to(session: str, kind: str, member: str) -> None:
    """By their name, `kind:to#n`."""
    assert (series.session_kind(session), series.session_member(session)) == (kind, member)


def test_servers_of_several_histories_are_one_list() -> None:
    """Codes of one history mean nothing in another."""
    first = history_of([Op("add", 0, 1, OK, server="x"), Op("add", 2, 3, OK, server="y")])
    second = history_of([Op("add", 4, 5, OK, server="y")])
    ops = series.ops_of([first, second])
    assert [ops.servers[i] for i in ops.server] == ["x", "y", "y"]


def test_operations_count_where_they_were_answered_or_else_sent() -> None:
    """By kind and outcome, per second."""
    ops = series.ops_of([history_of([op(0.1, 0.5), op(1.1, outcome=INFO), op(1.2, 0.1, FAIL, "direct:a#1")])])
    found = series.load_series(ops, 0, 2 * S)
    rates = {(r["kind"], r["outcome"]): r["per_s"] for r in found["rates"]}
    assert found["bucket_s"] == 0.5
    assert rates == {
        ("service", "ok"): [0, 2, 0, 0],
        ("service", "info"): [0, 0, 2, 0],
        ("direct", "fail"): [0, 0, 2, 0],
    }
    assert found["latency_ms"] == {"p50": [None, 500, None, None], "p99": [None, 500, None, None]}


def test_percentiles_are_per_bucket() -> None:
    """Whatever order the operations come in."""
    slow = [op(3 + i / 1000, 0.2) for i in range(10)]
    fast = [op(1 + i / 1000, 0.01) for i in range(99)] + [op(1, 0.3)]
    latency = series.load_series(series.ops_of([history_of([*slow, *fast])]), 0, 4 * S)["latency_ms"]
    assert (latency["p50"][2], latency["p50"][6]) == (10, 200)
    assert latency["p99"][2] == pytest.approx(12.9, abs=0.1)


@pytest.mark.parametrize(("duration_s", "width_s"), [(10, 0.5), (300, 0.5), (301, 1), (3600, 10), (10**9, 300)])
def test_long_runs_get_wider_buckets(duration_s: float, width_s: float) -> None:
    """So that the page stays small."""
    assert series.bucket_width_s(duration_s) == width_s


def test_acknowledging_spans_end_with_silence_epoch_and_server() -> None:
    """A second of silence is seen; a new epoch is a new span even without one."""
    rows = [("a", 1, 1.0), ("a", 1, 1.5), ("a", 1, 3.0), ("a", 2, 3.2), ("b", 2, 3.3)]
    ops = [Op("add", round(t * S) - 1, round(t * S), OK, server=s, epoch=e, session="direct:x") for s, e, t in rows]
    unknown = Op("add", S, FOREVER, INFO, server="c", epoch=9)
    read = Op("read", S, 2 * S, OK, server="c", epoch=1)
    spans = series.acknowledging(series.ops_of([history_of([*ops, unknown, read])]))
    assert [(s.server, s.epoch, s.first / S, s.last / S, s.count) for s in spans] == [
        ("a", 1, 1.0, 1.5, 2),
        ("a", 1, 3.0, 3.0, 1),
        ("a", 2, 3.2, 3.2, 1),
        ("b", 2, 3.3, 3.3, 1),
    ]
    assert series.acknowledging(series.ops_of([])) == []
