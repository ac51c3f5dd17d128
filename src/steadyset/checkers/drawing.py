"""The witness as a picture: its few ops on a time axis, as SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from typing import Final

from steadyset.checkers.base import NS_PER_S, UNKNOWN_LABEL
from steadyset.verdict import Judgement, Verdict

_WIDTH: Final = 960
_LEFT: Final = 24
_ROW: Final = 34
_TOP: Final = 64
_CHAR: Final = 6.6  # width of a character of the label font, px
_BAR_MIN: Final = 3.0
_COLOURS: Final = {
    Verdict.FAIL: "#b3261e",
    Verdict.PASS: "#1b6e3c",
    Verdict.INVALID: "#8a6d00",
    Verdict.ERROR: "#6a1b9a",
}


def witness_svg(judgement: Judgement, *, times_known: bool = True) -> str:
    """An SVG document that draws `judgement.spans`, one row each, the axis in seconds (or events) of the history."""
    spans = sorted(judgement.spans)
    low = min((start for start, _, _ in spans), default=0)
    high = max((end for _, end, _ in spans), default=1)
    scale = (_WIDTH - 2 * _LEFT) / max(1, high - low)
    lines = _wrapped(judgement.witness)
    height = _TOP + _ROW * len(spans) + 40 + 18 * len(lines)
    colour = _COLOURS[judgement.verdict]
    summary = textwrap.shorten(judgement.summary, 150, placeholder=" …")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img">',
        f"<title>{escape(judgement.rule)}: {escape(judgement.summary)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="600" fill="{colour}">'
        f"{judgement.verdict.value} {escape(judgement.rule)}</text>",
        f'<text x="{_LEFT}" y="44" fill="#333">{escape(summary)}</text>',
    ]
    for row, (start, end, label) in enumerate(spans):
        x = _LEFT + (start - low) * scale
        width = max(_BAR_MIN, (end - start) * scale)
        y = _TOP + row * _ROW
        text_x = min(x, max(_LEFT, _WIDTH - _LEFT - _CHAR * len(label)))
        look = f'fill="{colour}" opacity=".75"'
        if label.endswith(UNKNOWN_LABEL):
            look = f'fill="none" stroke="{colour}" stroke-dasharray="4 3"'
        parts.append(f'<rect x="{x:.1f}" y="{y + 16}" width="{width:.1f}" height="10" rx="3" {look}/>')
        parts.append(f'<text x="{text_x:.1f}" y="{y + 12}" fill="#111">{escape(label)}</text>')
    axis = _TOP + _ROW * len(spans) + 8
    unit, divide = ("s", NS_PER_S) if times_known else ("events", 1)
    parts.append(f'<line x1="{_LEFT}" y1="{axis}" x2="{_WIDTH - _LEFT}" y2="{axis}" stroke="#999"/>')
    begin = judgement.data.get("begin_ns", low)
    first, last = (f"{(at - begin) / divide:.10g} {unit}" for at in (low, high))
    parts.append(f'<text x="{_LEFT}" y="{axis + 16}" fill="#555">{first}</text>')
    parts.append(f'<text x="{_WIDTH - _LEFT}" y="{axis + 16}" fill="#555" text-anchor="end">{last}</text>')
    parts += [
        f'<text x="{_LEFT}" y="{axis + 38 + 18 * n}" fill="#333">{escape(line)}</text>' for n, line in enumerate(lines)
    ]
    parts.append("</svg>\n")
    return "\n".join(parts)


def _wrapped(lines: Sequence[str], width: int = 140) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]
