"""The failure stories' table: what is expected on which version, and how each test is seen to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

import steadyset
from steadyset.errors import UsageError
from steadyset.requirements.regressions import KNOWN, PASS, STORIES, Story, story

SUITES = Path(steadyset.__file__).parent / "suites" / "regressions"


@pytest.mark.parametrize(
    ("known", "version", "expected"),
    [((), "1.35.4", PASS), (("1.35",), "1.35.4", KNOWN), (("1.35",), "v1.36.3", PASS), (("*",), "1.36.3", KNOWN)],
)
def test_expected_verdict(known: tuple[str, ...], version: str, expected: str) -> None:
    told = Story("REG-X-001", "A sentence.", (1,), "some", known=known)
    assert told.expected(version) == expected


def test_a_story_that_passes_everywhere_has_a_sabotage() -> None:
    """What is neither disappointed on some version nor open must be seen to fail in another way."""
    assert [s.id for s in STORIES if not (s.known or s.sabotage or s.open)] == []


def test_every_sabotage_is_run() -> None:
    """The suites ask for it: `tell(space, ID, sabotage=…)`."""
    texts = [path.read_text() for path in SUITES.glob("test_*.py")]
    sabotaged = [text for text in texts if "sabotage=" in text]
    missing = [s.id for s in STORIES if s.sabotage and not s.open and not any(f'"{s.id}"' in t for t in sabotaged)]
    assert missing == []


def test_unknown_story() -> None:
    with pytest.raises(UsageError, match="no failure story is called REG-NO-001"):
        story("REG-NO-001")
