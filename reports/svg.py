"""The little SVG that the page needs: escaped elements, a time scale, round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

TEXT_WIDTH_PX = 6.1  # of one average character at the page's 11 px label size


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; attribute names use `_` for `-`, `class_` for class; None leaves an attribute out."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    return f"<{name}{''.join(parts)}>{content}</{name}>" if content else f"<{name}{''.join(parts)}/>"


def _plain(value: object) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(x: float, y: float, words: str, class_: str = "label", anchor: str = "start") -> str:
    """A line of text with its baseline at `y`."""
    return element("text", escape(words), x=x, y=y, class_=class_, text_anchor=anchor if anchor != "start" else None)


def rect(x: float, y: float, width: float, height: float, class_: str, *, title: str = "") -> str:
    """A box, at least half a pixel wide so that short things are still seen, with a tooltip."""
    return element("rect", tooltip(title), x=x, y=y, width=max(width, 0.5), height=height, class_=class_)


def tooltip(words: str) -> str:
    """What is shown when the pointer rests on the element that holds it; "" without words."""
    return element("title", escape(words)) if words else ""


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def fits(words: str, width: float) -> bool:
    """Whether a label fits into `width` pixels."""
    return len(words) * TEXT_WIDTH_PX + 6 <= width


def shorten(words: str, width: float) -> str:
    """`words`, cut with an ellipsis to fit into `width` pixels; "" where not even two characters fit."""
    room = int((width - 4) / TEXT_WIDTH_PX)
    if len(words) <= room:
        return words
    return words[: room - 1] + "…" if room >= 3 else ""


@dataclass(frozen=True)
class Scale:
    """Maps seconds from 0 to `seconds` onto pixels from `left` on, `width` wide."""

    seconds: float
    left: float
    width: float

    @property
    def right(self) -> float:
        """The right edge in pixels."""
        return self.left + self.width

    def __call__(self, t: float) -> float:
        """Pixels of a time, kept inside the plot."""
        if self.seconds <= 0:
            return self.left
        return self.left + min(max(t / self.seconds, 0.0), 1.0) * self.width

    def span(self, begin: float, until: float | None) -> tuple[float, float]:
        """(x, width) of a span; an unknown end is the right edge."""
        x = self(begin)
        return x, (self.right if until is None else self(until)) - x


def round_step(span: float, count: int) -> float:
    """The 1-2-5 step that divides `span` into at most about `count` parts."""
    if span <= 0:
        return 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)


def ticks(limit: float, count: int) -> list[float]:
    """Round values from 0 up to and including `limit`."""
    step = round_step(limit, count)
    return [i * step for i in range(int(limit / step + 1e-9) + 1)]


def step_area(xs: list[float], lower: list[float], upper: list[float]) -> str:
    """Path data of an area between two step functions; `xs` has one more element than the values."""
    forward = [f"{x:.1f},{y:.1f}" for i, y in enumerate(upper) for x in (xs[i], xs[i + 1])]
    back = [
        f"{x:.1f},{y:.1f}" for i in reversed(range(len(lower))) for x, y in ((xs[i + 1], lower[i]), (xs[i], lower[i]))
    ]
    return "M" + "L".join([*forward, *back]) + "Z"


def broken_line(points: Iterable[tuple[float, float | None]]) -> str:
    """Path data of a line through the points, broken where a value is unknown; a lone point becomes a short dash."""
    parts: list[str] = []
    run: list[tuple[float, float]] = []
    for x, y in [*points, (0.0, None)]:
        if y is not None:
            run.append((x, y))
        elif run:
            if len(run) == 1:
                run = [(run[0][0] - 1, run[0][1]), (run[0][0] + 1, run[0][1])]
            parts.append("M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in run))
            run = []
    return "".join(parts)
