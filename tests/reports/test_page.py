"""The page: what it must say, and how it behaves in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import websocket

from steadyset.reports import svg
from steadyset.reports.html import meaning, render_html, seconds
from steadyset.reports.publish import recheck
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
BROWSER_START_S = 30.0
BROWSER_ANSWER_S = 30.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
PHONE_PX, DESKTOP_PX = 360, 1280


class Tab:
    """One page in the browser, spoken to over the DevTools protocol; collects what the page did."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=BROWSER_ANSWER_S, suppress_origin=True)
        self.number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come in between are kept."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                assert "error" not in message, message
                return dict(message["result"])
            self.events.append(message)

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a file at a viewport width and wait for its load event."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(json.loads(self.socket.recv()))

    def value(self, expression: str) -> Any:
        """What a script expression gives in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def named(self, *methods: str) -> list[dict[str, Any]]:
        """Parameters of the events of these names."""
        return [e["params"] for e in self.events if e.get("method") in methods]


@contextmanager
def browsing(profile: Path) -> Iterator[Tab]:
    """A headless browser with a fresh profile and one tab."""
    argv = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = profile / "DevToolsActivePort"
            lines = wait_for(
                lambda: port.read_text().split() if port.exists() and len(port.read_text().split()) == 2 else None,
                what="the browser listens",
                deadline_name="BROWSER_START_S",
                deadline_s=BROWSER_START_S,
            )
            root = Tab(f"ws://127.0.0.1:{lines[0]}{lines[1]}")
            target = root.call("Target.createTarget", url="about:blank")["targetId"]
            yield Tab(f"ws://127.0.0.1:{lines[0]}/devtools/page/{target}")
        finally:
            process.kill()


needs_browser = pytest.mark.skipif(not BROWSER, reason="no chromium here: the page was not looked at in a browser")


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(PHONE_PX, False), (DESKTOP_PX, True)])
def test_the_page_in_a_browser(made_run: RunDir, tmp_path: Path, width: int, dark: bool) -> None:
    """No console error, no request beyond the file itself, nothing wider than the window, one drawing per scenario."""
    recheck(made_run)
    page = made_run.path / "index.html"
    with browsing(tmp_path / "profile") as tab:
        tab.open(page, width, dark=dark)
        assert tab.value("document.querySelector('h1 .badge').textContent.trim()") == "✗ FAIL"
        assert tab.value("innerWidth") == width
        assert tab.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        too_wide = (
            "[...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        )
        assert tab.value(f"{too_wide}.map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 60))") == []
        shown = "[...document.querySelectorAll('svg.timeline')].filter(e => e.getBoundingClientRect().width > 0)"
        assert tab.value(f"{shown}.length") == 5
        smallest = f"Math.min(...{shown}.map(e => e.getBoundingClientRect().width / e.viewBox.baseVal.width))"
        assert tab.value(smallest) >= 0.9
        background = tab.value("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
        move = (
            "(() => { const s = " + shown + "[0], b = s.getBoundingClientRect();"
            "s.dispatchEvent(new PointerEvent('pointermove', {clientX: b.left + b.width * 0.6, clientY: b.top + 9}));"
            "return s.querySelector('.cursor-time').textContent; })()"
        )
        assert re.fullmatch(r"\d+\.\d\d s", tab.value(move))
        requests = [r["request"]["url"] for r in tab.named("Network.requestWillBeSent")]
        assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
        assert tab.named("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []


@needs_browser
def test_the_browser_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A page with an overflow, an outside request and a script error is caught by the same means."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<body style="margin:0"><div style="width:900px">x</div><img src="missing.png"><script>nope()</script>'
    )
    with browsing(tmp_path / "profile") as tab:
        tab.open(page, PHONE_PX)
        assert tab.value("document.documentElement.scrollWidth") > PHONE_PX
        assert len(tab.named("Network.requestWillBeSent")) == 2
        assert tab.named("Runtime.exceptionThrown")


class Links(HTMLParser):
    """Collects references and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_links_lead_somewhere(made_run: RunDir) -> None:
    """Inside the page or into the run's folder; ids are unique."""
    document = recheck(made_run)
    links = Links()
    links.feed(render_html(document))
    assert len(links.ids) == len(set(links.ids))
    for reference in links.references:
        if reference.startswith("#"):
            assert reference[1:] in links.ids
        elif not reference.startswith(("data:", "journals/")):
            assert (made_run.path / reference).exists(), reference


def test_what_the_cluster_says_cannot_inject_markup(good_run: RunDir) -> None:
    """Pod names, errors and witness lines are text, also inside the drawings."""
    document = recheck(good_run)
    nasty = "</script><script>alert(1)</script><b onmouseover=x>"
    found = document["scenarios"][0]
    found["title"] = found["why"] = found["reason"] = found["goal"] = nasty
    found["judgements"][0].update(summary=nasty, witness=[nasty], verdict="FAIL")
    found["pods"][0]["name"] = found["pods"][0]["states"][0]["node"] = found["acks"][0]["server"] = nasty
    found["faults"][0]["target"] = nasty
    text = render_html(document)
    assert "<b onmouseover" not in text
    assert text.count("<script") == 1


def test_unknown_figures_are_shown_with_their_reason(good_run: RunDir) -> None:
    """A dash and why; never a zero."""
    scenario = good_run.scenarios()[0]
    scenario.trace = ""
    good_run.save(scenario)
    text = render_html(recheck(good_run))
    assert re.search(r"<dd>–</dd><dt><b class=\"letter\">D</b> detected by Kubernetes<em>no trace</em>", text)


def test_witness_lines_beyond_the_first_are_folded_not_lost(good_run: RunDir) -> None:
    """All of them are on the page."""
    document = recheck(good_run)
    lines = [f"evidence line {i}" for i in range(40)]
    document["scenarios"][0]["judgements"][0].update(verdict="FAIL", witness=lines)
    text = render_html(document)
    assert all(line in text for line in lines)
    assert "28 more lines" in text


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0.0, "0.00 s"), (4.236, "4.24 s"), (-0.5, "-0.50 s"), (61.26, "61.3 s"), (185, "3 min 05 s")],
)
def test_durations_are_written_for_people(value: float | None, words: str) -> None:
    """With units, and a dash when unknown."""
    assert seconds(value) == words


def test_ticks_are_round_and_few() -> None:
    """1, 2 and 5 steps."""
    assert svg.ticks(40, 10) == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert svg.ticks(0.7, 4) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert svg.ticks(0, 4) == [0]


def test_a_line_is_broken_where_a_value_is_unknown() -> None:
    """No interpolation over what was not measured; a lone point is still seen."""
    assert svg.broken_line([(0, 1), (1, 2), (2, None), (3, 4)]) == "M0.0,1.0L1.0,2.0M2.0,4.0L4.0,4.0"


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["interrupted", "interrupted"], "the run was interrupted"),
        (["interrupted", "KeyError: 'x'"], "the instrument broke"),
    ],
)
def test_an_interruption_is_no_broken_instrument(reasons: list[str], said: str) -> None:
    """Unless something else broke besides."""
    scenarios = [{"verdict": "PASS", "reason": ""}, *({"verdict": "ERROR", "reason": reason} for reason in reasons)]
    assert meaning({"verdict": "ERROR", "counts": {"controls": 0}, "scenarios": scenarios}) == said
