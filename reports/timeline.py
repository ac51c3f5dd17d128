"""One scenario's timeline: faults, throughput, latency, who acknowledged, pods, volumes and Services on one time axis.

Drawn as plain SVG in a few fixed widths, of which the page shows the one that fits, so that it needs no script.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from steadyset.reports import svg

WIDTHS = {"wide": 1120, "medium": 680, "narrow": 328}  # pixels; names are the page's CSS classes
GUTTER_PX = {"wide": 132, "medium": 112, "narrow": 34}
THROUGHPUT_PX, LATENCY_PX, LANE_PX, LANE_GAP_PX, TITLE_PX, TITLE_GAP_PX = 112, 84, 15, 6, 21, 9
EPOCH_COLOURS = 6
RATE_ORDER = (("ok", "service"), ("ok", "direct"), ("info", ""), ("fail", "service"), ("fail", "direct"))
RATE_NAMES = {
    "ok-service": "acknowledged, through the Service",
    "ok-direct": "acknowledged, direct session",
    "info": "outcome unknown",
    "fail-service": "refused, through the Service",
    "fail-direct": "refused, direct session",
}
STAGES = (  # metric, letter on the timeline, words
    ("detect_s", "D", "detected by Kubernetes"),
    ("reschedule_s", "S", "rescheduled"),
    ("attach_s", "V", "volume attached"),
    ("ready_s", "R", "pod ready again"),
    ("first_ack_s", "W", "first write acknowledged anew"),
    ("label_lag_s", "L", "Service label lag"),
)
GAP_SECTIONS = {
    "Pod": "pods",
    "NodeEvidence": "pods",
    "VolumeAttachment": "attachments",
    "EndpointSlice": "services",
}


@dataclass
class _Canvas:
    """Grows downwards: `y` is where the next row goes."""

    size: str
    scale: svg.Scale
    y: float = 0.0
    parts: list[str] = field(default_factory=list)
    sections: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def narrow(self) -> bool:
        return self.size == "narrow"

    def add(self, *parts: str) -> None:
        self.parts.extend(parts)

    def title(self, words: str) -> None:
        """A row with the name and unit of what follows."""
        self.y += TITLE_GAP_PX
        self.add(svg.text(0, self.y + 11, words, "heading"))
        self.y += TITLE_PX

    def lane(self, name: str) -> float:
        """Room for one lane; returns the top of its bar."""
        if self.narrow:
            self.add(svg.text(0, self.y + 10, name))
            self.y += 14
        else:
            self.add(svg.text(0, self.y + 11.5, svg.shorten(name, self.scale.left - 6)))
        top = self.y
        self.add(svg.rect(self.scale.left, top, self.scale.width, LANE_PX, "track"))
        self.y += LANE_PX + LANE_GAP_PX
        return top

    def bar(self, top: float, span: tuple[float, float | None], class_: str, *, label: str, title: str) -> None:
        """A labelled span (from, until; seconds) in a lane."""
        x, width = self.scale.span(*span)
        self.add(svg.rect(x, top, width, LANE_PX, f"bar {class_}", title=title))
        if label and svg.fits(label, width):
            self.add(svg.text(x + 4, top + 11.5, label, f"on {class_}"))


def timeline_svg(scenario: dict[str, Any], size: str) -> str:
    """The SVG of one scenario of a document in one of WIDTHS; "" when there is nothing to draw."""
    seconds = float(scenario["seconds"])
    if seconds <= 0:
        return ""
    left = GUTTER_PX[size]
    canvas = _Canvas(size, svg.Scale(seconds, left, WIDTHS[size] - left - 8))
    _fault_row(canvas, scenario)
    if scenario["series"]:
        _throughput(canvas, scenario)
        _latency(canvas, scenario["series"])
    _acknowledging(canvas, scenario["acks"])
    _pods(canvas, scenario["pods"])
    _states(canvas, "attachments", "volume attachments", scenario["attachments"])
    _services(canvas, scenario)
    _evidence(canvas, scenario)
    _gaps(canvas, scenario["gaps"])
    bottom = canvas.y
    if not bottom:
        return ""
    _axis(canvas, seconds)
    body = _grid(canvas, seconds, bottom) + _fault_bands(canvas, scenario, bottom) + "".join(canvas.parts)
    return svg.element(
        "svg",
        body,
        class_=f"timeline {size}",
        viewBox=f"0 0 {WIDTHS[size]} {canvas.y:.0f}",
        role="img",
        aria_label=f"Timeline of {scenario['title']}",
        data_left=canvas.scale.left,
        data_width=canvas.scale.width,
        data_seconds=seconds,
        data_bottom=bottom,
    )


def _grid(canvas: _Canvas, seconds: float, bottom: float) -> str:
    marks = svg.ticks(seconds, _tick_count(canvas))
    return "".join(svg.line(canvas.scale(t), 20, canvas.scale(t), bottom, "grid") for t in marks)


def _tick_count(canvas: _Canvas) -> int:
    return max(4, int(canvas.scale.width // 90))


def _axis(canvas: _Canvas, seconds: float) -> None:
    canvas.add(svg.line(canvas.scale.left, canvas.y, canvas.scale.right, canvas.y, "axis"))
    for t in svg.ticks(seconds, _tick_count(canvas)):
        anchor = "end" if canvas.scale(t) > canvas.scale.right - 20 else "middle"
        canvas.add(svg.text(canvas.scale(t), canvas.y + 14, f"{t:g} s", "label", anchor))
    canvas.y += 20


def _fault_row(canvas: _Canvas, scenario: dict[str, Any]) -> None:
    """Names of the faults over their bands, and the letters of the stages of recovery."""
    by_inject = {m["inject"]: m for m in scenario["metrics"]["faults"]}
    taken: list[float] = []  # right ends of the labels, one per row
    for fault in scenario["faults"]:
        if fault["inject"] is None:
            continue
        bit = "" if fault["bitten"] is not None else " (did not bite)"
        words = f"▾ {fault['fault']} {fault['target']}{bit}"
        x = canvas.scale(fault["inject"]) - 3
        words = svg.shorten(words, canvas.scale.right - canvas.scale.left)
        x = max(0.0, min(x, canvas.scale.right - len(words) * svg.TEXT_WIDTH_PX))
        row = next((i for i, end in enumerate(taken) if end < x), len(taken))
        taken[row : row + 1] = [x + len(words) * svg.TEXT_WIDTH_PX + 8]
        canvas.add(svg.text(x, 11 + 14 * row, words, "fault-name"))
    canvas.y += 14 * max(len(taken), 1) + 4
    stages = [
        (metrics["inject"] + _stage_at(metrics, name), letter, words)
        for metrics in by_inject.values()
        for name, letter, words in STAGES
        if metrics.get(name) is not None
    ]
    if not stages:
        return
    top = canvas.y
    if not canvas.narrow:
        canvas.add(svg.text(0, top + 11.5, "recovery"))
    ends = [-99.0, -99.0, -99.0]
    for at, letter, words in sorted(stages):
        x = canvas.scale(at)
        row = next((i for i, end in enumerate(ends) if end < x - 7.5), 0)
        ends[row] = x + 7.5
        y = top + 8 + 16 * row
        tip = svg.tooltip(f"{words}: at {at:.1f} s")
        canvas.add(
            svg.element(
                "g",
                tip
                + svg.element("circle", cx=x, cy=y, r=7.0, class_="stage")
                + svg.text(x, y + 3.5, letter, "stage-letter", "middle"),
            )
        )
    canvas.y += 16 * max(1, sum(end > 0 for end in ends)) + 4


def _stage_at(metrics: dict[str, Any], name: str) -> float:
    """Seconds after injection; the label lag counts from the first acknowledgement."""
    value = float(metrics[name])
    return value + float(metrics["first_ack_s"] or 0.0) if name == "label_lag_s" else value


def _fault_bands(canvas: _Canvas, scenario: dict[str, Any], bottom: float) -> str:
    found = []
    for fault in scenario["faults"]:
        if fault["inject"] is None:
            continue
        top = 16.0
        x, width = canvas.scale.span(fault["inject"], fault["healed"])
        times = ", ".join(
            f"{name} {fault[name]:.1f} s" for name in ("inject", "bitten", "heal", "healed") if fault[name] is not None
        )
        class_ = "band" if fault["bitten"] is not None else "band nobite"
        found.append(
            svg.rect(x, top, width, bottom - top, class_, title=f"{fault['fault']} {fault['target']}: {times}")
        )
        found.append(svg.line(x, top, x, bottom, "edge"))
        if fault["healed"] is not None:
            found.append(svg.line(x + width, top, x + width, bottom, "edge healed"))
    return "".join(found)


def _stack(series: dict[str, Any]) -> list[tuple[str, list[float], int]]:
    """(class, rates, total) from the bottom up: acknowledged by session kind, then unknown, then refused."""
    found: dict[str, tuple[list[float], int]] = {}
    for outcome, kind in RATE_ORDER:
        for rate in series["rates"]:
            if rate["outcome"] != outcome or (kind and (kind == "service") != (rate["kind"] == "service")):
                continue
            name = f"{outcome}-{kind}" if kind else outcome
            values, total = found.get(name, ([0.0] * series["buckets"], 0))
            found[name] = ([a + b for a, b in zip(values, rate["per_s"], strict=True)], total + rate["total"])
    return [(name, values, total) for name, (values, total) in found.items()]


def _throughput(canvas: _Canvas, scenario: dict[str, Any]) -> None:
    series = scenario["series"]
    canvas.title("throughput, operations per second")
    stack = _stack(series)
    peak = max((sum(column) for column in zip(*(values for _, values, _ in stack), strict=True)), default=0.0) or 1.0
    top, height = canvas.y, THROUGHPUT_PX
    marks = svg.ticks(peak, 4)
    limit = max(peak, marks[-1])
    for value in marks:
        y = top + height * (1 - value / limit)
        canvas.add(svg.line(canvas.scale.left, y, canvas.scale.right, y, "grid"))
        canvas.add(svg.text(canvas.scale.left - 5, y + 4, _short(value), "label", "end"))
    xs = [canvas.scale(i * series["bucket_s"]) for i in range(series["buckets"] + 1)]
    base = [0.0] * series["buckets"]
    for name, values, total in stack:
        upper = [a + b for a, b in zip(base, values, strict=True)]
        lows, highs = ([top + height * (1 - v / limit) for v in side] for side in (base, upper))
        tip = svg.tooltip(f"{RATE_NAMES[name]}: {total} operations")
        canvas.add(svg.element("path", tip, d=svg.step_area(xs, lows, highs), class_=f"rate {name}"))
        base = upper
    for metrics in scenario["metrics"]["faults"]:
        silence = metrics.get("silence")
        if silence and silence[1] - silence[0] >= 1:
            x, width = canvas.scale.span(*silence)
            words = f"{silence[1] - silence[0]:.1f} s without acknowledged writes {metrics['scope']}".rstrip()
            canvas.add(svg.rect(x, top + height - 4, width, 4, "silence", title=words))
            label = words if svg.fits(words, width) else f"{silence[1] - silence[0]:.1f} s"
            canvas.add(svg.text(x + width / 2, top + height - 8, label, "silence-label", "middle"))
    canvas.y += height + 4


def _latency(canvas: _Canvas, series: dict[str, Any]) -> None:
    lines = [("p99", series["latency_ms"]["p99"]), ("p50", series["latency_ms"]["p50"])]
    known = [v for _, values in lines for v in values if v is not None]
    if not known:
        return
    canvas.title(
        "latency, ms (logarithmic)" if canvas.narrow else "latency of acknowledged operations, ms (logarithmic)"
    )
    low = math.floor(math.log10(max(min(known), 0.01)))
    high = max(math.ceil(math.log10(max(*known, 0.1))), low + 1)
    top, height = canvas.y, LATENCY_PX

    def y_of(value: float) -> float:
        return top + height * (1 - (math.log10(max(value, 10.0**low)) - low) / (high - low))

    for power in range(low, high + 1):
        canvas.add(svg.line(canvas.scale.left, y_of(10.0**power), canvas.scale.right, y_of(10.0**power), "grid"))
        canvas.add(svg.text(canvas.scale.left - 5, y_of(10.0**power) + 4, _short(10.0**power), "label", "end"))
    for name, values in lines:
        middle = [canvas.scale((i + 0.5) * series["bucket_s"]) for i in range(series["buckets"])]
        points = [(x, None if v is None else y_of(v)) for x, v in zip(middle, values, strict=True)]
        canvas.add(svg.element("path", d=svg.broken_line(points), class_=f"latency {name}"))
    canvas.y += height + 4


def _short(value: float) -> str:
    """A tick's number in at most four characters."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _acknowledging(canvas: _Canvas, acks: list[dict[str, Any]]) -> None:
    if not acks:
        return
    canvas.title("acknowledges writes, by epoch")
    epochs = sorted({ack["epoch"] for ack in acks})
    for server in sorted({ack["server"] for ack in acks}):
        top = canvas.lane(server or "unnamed server")
        for ack in acks:
            if ack["server"] != server:
                continue
            epoch = "no epoch told" if ack["epoch"] < 0 else f"epoch {ack['epoch']}"
            title = (
                f"{server}, {epoch}: {ack['count']} writes acknowledged from {ack['from']:.2f} s "
                f"to {ack['until']:.2f} s ({', '.join(ack['sessions'])})"
            )
            class_ = f"e{epochs.index(ack['epoch']) % EPOCH_COLOURS}"
            canvas.bar(top, (ack["from"], ack["until"]), class_, label=epoch, title=title)


def _pods(canvas: _Canvas, pods: list[dict[str, Any]]) -> None:
    if not pods:
        return
    begin = canvas.y
    evidence = any(lane["containers"] or lane["mounts"] for lane in pods)
    canvas.title(
        "pods"
        + (
            " (thin lines: container running, volume mounted, as the nodes saw it)"
            if evidence and not canvas.narrow
            else ""
        )
    )
    for lane in pods:
        top = canvas.lane(lane["name"])
        uid = ""
        for span in lane["states"]:
            where = f" on {span['node']}" if span["node"] else ""
            title = f"{lane['name']} {span['label']}{where} from {span['from']:.2f} s, uid {span['uid']}"
            canvas.bar(top, (span["from"], span["until"]), f"s-{span['label']}", label=span["node"], title=title)
            if uid and span["uid"] != uid:
                x = canvas.scale(span["from"])
                canvas.add(svg.line(x, top - 2, x, top + LANE_PX + 2, "reborn"))
            uid = span["uid"]
        if evidence:
            _node_evidence(canvas, lane)
    canvas.sections["pods"] = (begin + TITLE_PX + TITLE_GAP_PX, canvas.y)


def _node_evidence(canvas: _Canvas, lane: dict[str, Any]) -> None:
    """Thin lines below a pod's bar. Incarnations take turns between two rows, so that two at once are seen as two."""
    incarnations = list(dict.fromkeys(span["uid"] for span in lane["states"]))
    rows = min(len(incarnations), 2) or 1
    canvas.y -= LANE_GAP_PX - 2
    for spans, class_, what in ((lane["containers"], "container", "container"), (lane["mounts"], "mount", "volume")):
        for span in spans:
            row = incarnations.index(span["uid"]) % rows if span["uid"] in incarnations else 0
            x, width = canvas.scale.span(span["from"], span["until"])
            words = f"{what} {span['label']} of {lane['name']} on {span['node']}, uid {span['uid']}"
            canvas.add(svg.rect(x, canvas.y + 3.5 * row, width, 2.5, class_, title=words))
        canvas.y += 3.5 * rows
    canvas.y += LANE_GAP_PX


def _states(canvas: _Canvas, section: str, title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    begin = canvas.y
    canvas.title(title)
    for row in rows:
        top = canvas.lane(row["name"])
        for span in row["states"]:
            words = f"{row['name']} {span['label']} on {span['node']} from {span['from']:.2f} s"
            canvas.bar(top, (span["from"], span["until"]), f"s-{span['label']}", label=span["node"], title=words)
    canvas.sections[section] = (begin + TITLE_PX + TITLE_GAP_PX, canvas.y)


def _services(canvas: _Canvas, scenario: dict[str, Any]) -> None:
    """Services whose ready pods changed; the ones that never did say nothing."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for change in scenario["services"]:
        by_name.setdefault(change["service"], []).append(change)
    moved = {name: changes for name, changes in by_name.items() if len(changes) > 1}
    if not moved:
        return
    begin = canvas.y
    canvas.title("ready pods behind the Service")
    for name, changes in sorted(moved.items()):
        top = canvas.lane(name)
        for i, change in enumerate(changes):
            until = changes[i + 1]["at"] if i + 1 < len(changes) else None
            pods = ", ".join(change["pods"])
            class_ = f"v{i % 2}" if pods else "v-none"
            title = f"{name}: {pods or 'no ready pod'}"
            canvas.bar(top, (change["at"], until), class_, label=pods or "none", title=title)
    canvas.sections["services"] = (begin + TITLE_PX + TITLE_GAP_PX, canvas.y)


def _evidence(canvas: _Canvas, scenario: dict[str, Any]) -> None:
    """Where the evidence lies of the judgements that did not pass."""
    judged = [j for j in scenario["judgements"] if j["verdict"] != "PASS" and j["spans"]]
    if not judged:
        return
    canvas.title("deciding evidence")
    for judgement in judged:
        top = canvas.lane(judgement["rule"])
        for span in judgement["spans"]:
            x, width = canvas.scale.span(span["from"], span["until"])
            canvas.add(
                svg.rect(
                    x - 1, top, width + 2, LANE_PX, "bar witness", title=f"{span['label']} at {span['from']:.2f} s"
                )
            )


def _gaps(canvas: _Canvas, gaps: list[dict[str, Any]]) -> None:
    """Blind windows, hatched over the rows they blind."""
    for gap in gaps:
        section = canvas.sections.get(GAP_SECTIONS.get(gap["kind"], ""))
        if section is None:
            continue
        x, width = canvas.scale.span(gap["from"], gap["until"])
        late = "seen later, complete" if gap["lossless"] else "not seen"
        words = f"{gap['kind']} {gap['name']} {late} from {gap['from']:.1f} s to {gap['until']:.1f} s: {gap['reason']}"
        canvas.add(svg.rect(x, section[0] - 2, width, section[1] - section[0], "gap", title=words))
