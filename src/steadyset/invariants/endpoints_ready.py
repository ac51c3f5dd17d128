"""Rule `endpoints-ready`: Services send traffic to the pods that are Ready, and to no others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import labels, matches, ready, short, spec, terminating
from steadyset.trace import Lifetime, Trace
from steadyset.verdict import Judgement

SERVICE_LABEL = "kubernetes.io/service-name"
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class EndpointsReady:
    """`lag_ms`: how long the endpoints may differ from the pods. `services_min`: Services with a selector, judged."""

    namespace: str
    services_min: int = 1
    lag_ms: int = 5000

    rule: ClassVar[str] = "endpoints-ready"
    claim: ClassVar[str] = "a Service's endpoint is ready exactly while its pod is, but for a bounded delay"

    def check(self, trace: Trace) -> Judgement:
        """Compare, for every pod of every Service, the times it was Ready with the times its endpoint was."""
        found = Findings(self, trace)
        found.needs("Pod", "Service", "EndpointSlice")
        found.count("services", 0)
        found.count("endpoints", 0)
        pods = trace.lifetimes("Pod", self.namespace)
        endpoint_spans = self._endpoint_spans(trace)
        slowest = 0
        for service in trace.lifetimes("Service", self.namespace):
            selector = spec(service.last).get("selector")
            if not selector:
                continue
            found.count("services")
            if any(spec(state).get("selector") != selector for _, state in service.states()):
                found.undecided(
                    f"the selector of Service {service.name} changed: which pods it meant when is not judged"
                )
                continue
            published = bool(spec(service.last).get("publishNotReadyAddresses"))
            until = service.end_ns if service.end_ns is not None else trace.end_ns
            for pod in pods:
                here = endpoint_spans[service.name].get(pod.uid, [])
                pod_spans = _cut(self._pod_spans(trace, pod, selector), service.start_ns, until)
                if not pod_spans and not here:
                    continue
                found.count("endpoints", bool(here))
                who = f"pod {pod.name} ({short(pod.uid)})"
                if not published:
                    for start, end in _minus(_cut(here, service.start_ns, until), pod_spans):
                        slowest = max(slowest, end - start)
                        self._judge(
                            found,
                            start,
                            end,
                            f"Service {service.name} kept {who} when it was not Ready or not selected",
                        )
                for start, end in _minus(pod_spans, here):
                    slowest = max(slowest, end - start)
                    self._judge(found, start, end, f"Service {service.name} lacked {who} although it was Ready")
        found.data["lag_s_max"] = slowest / 1e9
        for kind in ("Pod", "Service", "EndpointSlice"):
            for gap in trace.gaps(kind):
                if gap.open or gap.seconds * 1000 > self.lag_ms:
                    found.hidden(gap, "endpoints that differed from their pods for longer than allowed")
        found.at_least("services", self.services_min)
        found.at_least("endpoints", self.services_min)
        return found.judgement(
            f"{plural(found.observed['services'], 'Service')} followed their pods within {slowest / 1e9:.3f} s"
        )

    def _judge(self, found: Findings, start: int, end: int, text: str) -> None:
        if end - start > self.lag_ms * 1_000_000:
            found.violated(start, f"{text}, for {(end - start) / 1e9:.3f} s")

    def _pod_spans(self, trace: Trace, pod: Lifetime, selector: dict[str, str]) -> Spans:
        """When the pod was Ready and bore the labels that the Service selects (a primary's label moves)."""
        spans: Spans = []
        since = -1
        for record in pod.records:
            selected = matches({"matchLabels": selector}, labels(record.obj))
            is_ready = selected and ready(record.obj) and not terminating(record.obj)
            if is_ready and since < 0:
                since = record.t
            elif not is_ready and since >= 0:
                spans.append((since, record.t))
                since = -1
        if since >= 0:
            spans.append((since, pod.end_ns if pod.end_ns is not None else trace.end_ns))
        return spans

    def _endpoint_spans(self, trace: Trace) -> dict[str, dict[str, Spans]]:
        """Service to pod UID to the times at which a slice called its endpoint ready."""
        spans: dict[str, dict[str, Spans]] = defaultdict(lambda: defaultdict(list))
        for life in trace.lifetimes("EndpointSlice", self.namespace):
            service = labels(life.last).get(SERVICE_LABEL, "")
            since: dict[str, int] = {}
            end = life.end_ns if life.end_ns is not None else trace.end_ns
            for record in life.records:
                now = {
                    str((endpoint.get("targetRef") or {}).get("uid", ""))
                    for endpoint in record.obj.get("endpoints") or []
                    if (endpoint.get("conditions") or {}).get("ready", True)
                } - {""}
                for uid in since.keys() - now:
                    spans[service][uid].append((since.pop(uid), record.t))
                for uid in now - since.keys():
                    since[uid] = record.t
            for uid, start in since.items():
                spans[service][uid].append((start, end))
        return spans


def _cut(spans: Spans, start: int, end: int) -> Spans:
    """The part of the spans between `start` and `end`."""
    return [(max(a, start), min(b, end)) for a, b in spans if min(b, end) > max(a, start)]


def _minus(spans: Spans, others: Spans) -> Spans:
    """The times in `spans` that are in none of `others`."""
    left: Spans = []
    for start, end in spans:
        at = start
        for a, b in sorted(others):
            if b <= at or a >= end:
                continue
            if a > at:
                left.append((at, a))
            at = max(at, b)
        if at < end:
            left.append((at, end))
    return left
