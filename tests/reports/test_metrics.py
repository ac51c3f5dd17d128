"""Metrics: each from evidence made so that the right figure is known, and None wherever the evidence cannot tell."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from steadyset.history import FOREVER, INFO, OK, Op, history_of
from steadyset.reports import metrics, series
from steadyset.rundir import FaultSpan, RunDir
from steadyset.trace import Record, Trace, load_trace

S = 1_000_000_000


def times(*seconds: float) -> Any:
    """Nanoseconds of seconds."""
    return np.array([round(s * S) for s in seconds], dtype=np.int64)


def write(at: float, *, server: str = "a", epoch: int = 1, took: float = 0.01, session: str = "service") -> Op:
    """An acknowledged append sent at `at` seconds."""
    start = round(at * S)
    return Op("add", start, start + round(took * S), OK, start, server=server, epoch=epoch, session=session)


def window(inject_s: float = 10, until_s: float = 30, **fields: Any) -> metrics.Window:
    """A fault on pod a at `inject_s`."""
    span = FaultSpan(**{"fault": "pod-kill", "target": "a", "inject_ns": round(inject_s * S), **fields})
    return metrics.windows([span], 0, round(until_s * S))[0]


def measured(ops: list[Op], trace: Trace | None = None, **fields: Any) -> dict[str, Any]:
    """The metrics of one fault at 10 s."""
    return metrics.fault_metrics(window(**fields), trace, series.ops_of([history_of(ops)]))


def test_the_stages_of_recovery_are_read_from_trace_and_history(good_run: RunDir) -> None:
    """The made-up kill at 10 s: Terminating at 10.1, scheduled 11.5, attached 13, acknowledged 14.2, Ready 17."""
    scenario = good_run.scenarios()[0]
    trace = load_trace(good_run.path / scenario.trace)
    ops = series.ops_of([_history(good_run)])
    kill = metrics.windows(scenario.faults, scenario.start_ns, scenario.end_ns)[0]
    found = metrics.fault_metrics(kill, trace, ops, scenario.namespace)
    stages = {name: found[name] for name in ("detect_s", "reschedule_s", "attach_s", "ready_s")}
    assert stages == {"detect_s": 0.1, "reschedule_s": 1.5, "attach_s": 3.0, "ready_s": 7.0}
    assert (found["detected_by"], found["first_ack_by"], found["first_ack_epoch"]) == (
        "pod pg-0 Terminating",
        "pg-1",
        4,
    )
    assert 4.2 < found["first_ack_s"] < 4.4
    assert found["label_lag_s"] == pytest.approx(15 - 10 - found["first_ack_s"], abs=0.001)
    assert found["label_lag_service"] == "pg-primary"
    assert 4.1 < found["without_acks_s"] < 4.3
    assert found["unknown"] == {}


def _history(run: RunDir) -> Any:
    from steadyset.history import load_history

    return load_history(run.path / "history/kill-primary/load")


def test_without_a_trace_the_stages_are_unknown_not_zero() -> None:
    """Only what the clients saw can be told."""
    found = measured([write(t) for t in range(1, 10)] + [write(t, server="b", epoch=2) for t in range(13, 20)])
    for name in ("detect_s", "reschedule_s", "attach_s", "ready_s", "label_lag_s"):
        assert found[name] is None
        assert found["unknown"][name] == "no trace"
    assert found["first_ack_s"] == 3.01
    assert found["without_acks_s"] == pytest.approx(4.0)


def test_without_any_acknowledgement_the_outage_is_unknown() -> None:
    """A load that never got an answer has no "longest silence" between answers."""
    found = measured([Op("add", S, FOREVER, INFO, 1, session="service")])
    assert (found["without_acks_s"], found["without_acks_total_s"], found["first_ack_s"]) == (None, None, None)
    assert found["unknown"]["without_acks_s"] == "no write was acknowledged"


def test_without_any_write_nothing_is_made_up() -> None:
    """A history of reads says nothing about writes."""
    found = measured([Op("read", S, 2 * S, OK, 1)])
    assert found["without_acks_s"] is None
    assert found["unknown"]["without_acks_s"] == "no write was recorded"


def test_an_epoch_that_never_changes_is_no_failover() -> None:
    """Writes that go on over the same epoch do not show that anything recovered."""
    found = measured([write(t / 2) for t in range(2, 40)])
    assert found["first_ack_s"] is None
    assert found["without_acks_s"] == pytest.approx(0.5, abs=0.02)
    assert found["without_acks_total_s"] == 0


def test_a_request_sent_before_the_fault_is_not_the_recovery() -> None:
    """Its acknowledgement may come from before the fault even when it arrives after it."""
    slow = write(9.9, server="b", epoch=2, took=1.0)
    assert measured([write(5), slow])["first_ack_s"] is None
    assert measured([write(5), slow, write(12, server="b", epoch=2)])["first_ack_s"] == 2.01


def test_writes_through_direct_sessions_do_not_hide_an_outage_of_the_service() -> None:
    """Both figures are given."""
    direct = [write(t, session="direct:a") for t in range(1, 20)]
    found = measured([*direct, write(9), write(15.5), write(19)])
    assert (found["without_acks_s"], found["without_acks_service_s"]) == (1.0, 6.5)


def test_members_that_are_stores_of_their_own_do_not_hide_each_others_outage() -> None:
    """Sessions to the killed member count; the others, which go on, do not."""
    killed = [write(t, session="service:a") for t in (1, 9, 16, 20)] + [write(t, session="direct:a#1") for t in (2, 17)]
    others = [write(t / 2, server="b", session="service:b") for t in range(2, 60)]
    found = measured([*killed, *others], Trace([pod(0, "SYNC", "u")]))
    assert (found["without_acks_s"], found["scope"]) == (7.0, "to a")
    assert measured([*killed, *others], Trace([]))["without_acks_s"] == 0.5


def test_a_restart_of_all_members_has_an_outage_without_any_fault() -> None:
    """Over its own stretch alone; where members are stores of their own, that of the one that was silent longest."""
    ops = series.ops_of([history_of([write(t) for t in (1, 8, 11.9, 13, 16, 17, 25)])])
    assert metrics.restart_outage_s(ops, ["a"], 12 * S, 18 * S) == pytest.approx(3.0, abs=0.1)
    own = [write(t, session="service:a") for t in (11, 12, 17)] + [write(t, session="service:b") for t in (11, 15, 17)]
    assert metrics.restart_outage_s(series.ops_of([history_of(own)]), ["a", "b"], 11 * S, 17 * S) == 4.99
    assert metrics.restart_outage_s(series.ops_of([history_of([])]), ["a"], 0, S) is None


def endpoints(t: float, *pods: str, service: str = "rw") -> Record:
    """An EndpointSlice record with these ready pods."""
    state = {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"targetRef": {"kind": "Pod", "name": name}} for name in pods],
    }
    raw = msgspec.Raw(msgspec.json.encode(state))
    return Record(t=round(t * S), w=0, e="MODIFIED", k="EndpointSlice", ns="x", name=service, uid=service, raw=raw)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([endpoints(0, "a"), endpoints(14, "b")], (14, "rw")),
        ([endpoints(0, "a"), endpoints(12), endpoints(15, "b")], (15, "rw")),
        ([endpoints(0, "a"), endpoints(14, "a")], None),
        ([endpoints(0, "a", "b"), endpoints(14, "b")], None),
        ([endpoints(0, "a"), endpoints(14, "b"), endpoints(0, "a", service="slow")], None),
        (
            [endpoints(0, "a"), endpoints(14, "b"), endpoints(0, "a", service="s"), endpoints(20, "b", service="s")],
            (20, "s"),
        ),
        ([endpoints(0, "a"), endpoints(31, "b")], None),
    ],
)
def test_the_label_switch_is_that_of_the_slowest_service_that_follows(changes: Any, expected: Any) -> None:
    """A Service of all members does not follow the primary; one that never switched makes it unknown."""
    found = metrics.label_switch(Trace(changes), window(), "a", "b")
    assert found == (None if expected is None else (expected[0] * S, expected[1]))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([endpoints(0, "a"), endpoints(11), endpoints(13, "a")], (13, "rw")),
        ([endpoints(0, "a"), endpoints(11)], None),
        ([endpoints(0, "a")], None),
        ([endpoints(0, "a"), endpoints(5), endpoints(6, "a")], None),
    ],
)
def test_a_member_that_comes_back_is_followed_by_its_own_service(changes: Any, expected: Any) -> None:
    """Lost after the fault and had back; what was lost before it does not count."""
    found = metrics.label_switch(Trace(changes), window(), "a", "a")
    assert found == (None if expected is None else (expected[0] * S, expected[1]))


def test_an_outage_that_lasts_to_the_end_counts_to_the_last_request() -> None:
    """Not to the scenario's end: nobody asked any more."""
    refused = [Op("add", t * S, t * S + 1000, 2, t, session="service") for t in range(10, 26)]
    assert measured([write(9.99, took=0.0), *refused])["without_acks_s"] == pytest.approx(15.01, abs=0.001)


def pod(
    t: float, e: str, uid: str, node: str = "n1", *, ready: bool = True, container: str = "c1", name: str = "a"
) -> Record:
    """A record of pod a."""
    state = {
        "metadata": {"name": name, "uid": uid},
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"containerID": container}],
        },
    }
    raw = msgspec.Raw(msgspec.json.encode(state))
    return Record(t=round(t * S), w=0, e=e, k="Pod", ns="x", name=name, uid=uid, raw=raw)


def test_a_container_that_restarts_in_place_is_detected_but_not_rescheduled() -> None:
    """The pod keeps its UID, node and volume: no time can be given for what did not happen."""
    trace = Trace(
        [pod(0, "SYNC", "u"), pod(11, "MODIFIED", "u", ready=False), pod(12.5, "MODIFIED", "u", container="c2")]
    )
    found = measured([write(t, epoch=-1) for t in (1, 2, 9, 13, 14)], trace)
    stages = [found[name] for name in ("detect_s", "reschedule_s", "attach_s", "ready_s", "first_ack_s")]
    assert stages == [1.0, None, None, 2.5, 3.01]
    assert found["unknown"]["attach_s"] == "no volume was attached anew"


def test_a_pod_that_is_still_not_ready_has_no_time_to_ready() -> None:
    """Not the time until the scenario ended."""
    trace = Trace([pod(0, "SYNC", "u"), pod(11, "MODIFIED", "u", ready=False)])
    assert measured([write(1)], trace)["ready_s"] is None


def test_with_several_pods_the_slowest_counts_and_a_missing_one_makes_it_unknown() -> None:
    """A node with two pods: one is back after 3 s, the other after 8 s, or never."""
    both = [pod(0, "SYNC", "u"), pod(0, "SYNC", "v", name="b")]
    lost = [pod(11, "MODIFIED", "u", ready=False), pod(11, "MODIFIED", "v", ready=False, name="b")]
    back = [pod(13, "MODIFIED", "u"), pod(18, "MODIFIED", "v", name="b")]
    assert measured([write(1)], Trace([*both, *lost, *back]), target="node/n1")["ready_s"] == 8.0
    assert measured([write(1)], Trace([*both, *lost, back[0]]), target="node/n1")["ready_s"] is None


def node(t: float, ready: str) -> Record:
    """A record of node n1."""
    raw = msgspec.Raw(msgspec.json.encode({"status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    return Record(t=round(t * S), w=0, e="MODIFIED", k="Node", name="n1", uid="n1", raw=raw)


def test_a_node_that_goes_silent_is_a_sign_and_one_that_was_before_is_none() -> None:
    """Only what the API shows after the fault was injected detects it."""
    trace = Trace([pod(0, "SYNC", "u"), node(3, "False"), node(5, "True"), node(14, "Unknown")])
    found = measured([write(1)], trace)
    assert (found["detect_s"], found["detected_by"]) == (4.0, "node n1 not Ready")


def test_a_target_that_names_no_pod_is_said() -> None:
    """A partition aimed at nothing has nothing to detect."""
    found = measured([write(1)], Trace([pod(0, "SYNC", "u")]), target="pod/nobody")
    assert found["pods"] == []
    assert found["unknown"]["detect_s"] == "the target 'pod/nobody' names no pod of the trace"


def test_a_fault_on_a_node_affects_its_pods() -> None:
    """By where they ran when it was injected."""
    trace = Trace([pod(0, "SYNC", "u"), pod(20, "MODIFIED", "u", node="n2")])
    assert measured([write(1)], trace, target="node/n1")["pods"] == ["a"]
    assert measured([write(1)], trace, target="node/n2")["pods"] == []


def test_later_faults_end_the_window_of_earlier_ones() -> None:
    """What happens after the second injection says nothing about the first."""
    spans = [FaultSpan(fault="x", target="a", inject_ns=i * S, healed_ns=(i + 1) * S) for i in (20, 10)]
    spans.append(FaultSpan(fault="never", target="a"))
    found = [(w.begin / S, w.inject / S, w.until / S) for w in metrics.windows(spans, 0, 40 * S)]
    assert found == [(0, 10, 20), (11, 20, 40)]


def test_latencies_before_during_and_after() -> None:
    """Each request belongs to the phase in which it was sent; unknown ones are counted, not timed."""
    ops = [write(t, took=0.01) for t in (1, 2, 3)] + [write(t, took=0.2) for t in (10.5, 11)]
    ops += [Op("add", 12 * S, FOREVER, INFO, 9), write(15, took=0.02)]
    latency = measured(ops, healed_ns=13 * S)["latency"]
    assert [latency[phase]["p50_ms"] for phase in ("before", "during", "after")] == [10, 200, 20]
    assert [latency[phase]["ok"] for phase in ("before", "during", "after")] == [3, 2, 1]
    assert latency["during"]["info"] == 1
    assert measured([write(1)])["latency"]["after"]["p50_ms"] is None


def test_silences_begin_and_end_where_they_should() -> None:
    """A stretch may begin before the fault; times before the last one of before do not matter."""
    assert metrics.longest_silence(times(1, 2, 8, 9), round(3 * S), 10 * S) == (2 * S, 8 * S)
    assert metrics.longest_silence(times(), 0, S) is None
    assert metrics.silences(times(5), 0, 6 * S).tolist() == [[0, 5 * S], [5 * S, 6 * S]]
