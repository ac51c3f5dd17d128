"""The page: one self-contained index.html, drawn from the document alone.

No request leaves it: style, script and drawings are inside. It works from a file, on a phone, in the dark and on
paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from steadyset.reports.matrix import harm, recovery
from steadyset.reports.timeline import RATE_NAMES, STAGES, WIDTHS, timeline_svg
from steadyset.rundir import RunDir

NAME = "index.html"
TEMPLATES = Path(__file__).parent / "templates"
WITNESS_LINES_SHOWN = 12  # the rest is folded
MARKS = {"PASS": "✓", "FAIL": "✗", "INVALID": "∅", "ERROR": "!"}
MEANINGS = {
    "PASS": "every promise that was tested was kept",
    "FAIL": "a promise was broken",
    "INVALID": "some scenario proves nothing: it was cut short, its fault did not bite, or too little was observed",
    "ERROR": "the instrument broke",
}
METRICS = (
    ("without_acks_s", "", "without acknowledged writes, longest"),
    ("without_acks_service_s", "", "the same, through the Service alone"),
    ("without_acks_total_s", "", "sum of such stretches over 1 s"),
    *STAGES,
)


def seconds(value: float | None) -> str:
    """A duration for people: 4.24 s, 12.3 s, 3 min 05 s; an en dash when unknown."""
    if value is None:
        return "–"
    if abs(value) < 10:
        return f"{value:.2f} s"
    if abs(value) < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def meaning(document: dict[str, Any]) -> str:
    """The overall verdict in a sentence."""
    counts = document["counts"]
    if document["verdict"] == "PASS" and counts["controls"]:
        caught = "every negative control failed as it must"
        return caught if counts["controls"] == counts["scenarios"] else f"{MEANINGS['PASS']}, and {caught}"
    broken = [s["reason"] for s in document["scenarios"] if s["verdict"] == "ERROR"]
    if broken and set(broken) == {"interrupted"}:
        return "the run was interrupted"
    return MEANINGS[document["verdict"]]


def link(path: str) -> str:
    """A relative path as a URL."""
    return quote(path)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=seconds, link=link)
    environment.globals.update(
        marks=MARKS,
        metrics=METRICS,
        harm=harm,
        recovery=recovery,
        as_seconds=seconds,
        style=Markup((TEMPLATES / "page.css").read_text()),
        script=Markup((TEMPLATES / "page.js").read_text()),
    )
    return environment


def render_html(document: dict[str, Any]) -> str:
    """The page's text."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            d=document,
            run=document["run"],
            conformance=document["run"].get("kind") == "conformance",
            cluster=document["run"].get("cluster") or {},
            meaning=meaning(document),
            stages=STAGES,
            rate_names=RATE_NAMES,
            witness_shown=WITNESS_LINES_SHOWN,
            timelines={
                scenario["slug"]: [Markup(timeline_svg(scenario, size)) for size in WIDTHS]
                for scenario in document["scenarios"]
            },
        )
    )


def render_comparison(comparison: dict[str, Any]) -> str:
    """The page of a comparison of two runs (see `reports.compare`)."""
    return _environment().get_template("compare.html").render(c=comparison)


def render_coverage(coverage: dict[str, Any]) -> str:
    """The page of the promises' coverage (see `reports.coverage`)."""
    return _environment().get_template("coverage.html").render(c=coverage)


def write_html(run: RunDir, document: dict[str, Any]) -> Path:
    """Write index.html into the run and return its path."""
    path = run.path / NAME
    temporary = path.with_name(f"{NAME}.tmp")
    temporary.write_text(render_html(document), encoding="utf-8")
    temporary.rename(path)
    return path
