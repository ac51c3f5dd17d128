"""Names as options and settings give them."""

from __future__ import annotations


def names_in(text: str) -> list[str]:
    """The names in a comma-separated option, without the spaces around them and without empty ones."""
    return [name for part in text.split(",") if (name := part.strip())]
