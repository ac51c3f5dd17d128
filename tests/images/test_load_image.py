"""The image of the load's workers: Debian's Python, with libraries that this machine's pip chose."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from steadyset.fixtures.images.recipes import LOAD_PINS, LOAD_PYTHON

IMAGE = {"python_full_version": LOAD_PYTHON, "python_version": LOAD_PYTHON.rpartition(".")[0], "extra": ""}


def test_what_a_library_needs_on_the_images_python_is_named() -> None:
    """Whatever hangs on the version of Python is in the list itself, since pip judges it by another Python."""
    named = {canonicalize_name(Requirement(pin).name) for pin in LOAD_PINS}
    seen, todo, unnamed = set(named), list(named), set()
    while todo:
        name = todo.pop()
        for line in metadata.requires(name) or [] if _installed(name) else []:
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate(IMAGE):
                continue
            other = canonicalize_name(needed.name)
            if re.search("python_(full_)?version", str(needed.marker)) and other not in named:
                unnamed.add(f"{name} needs {line}")
            if other not in seen:
                seen.add(other)
                todo.append(other)
    assert len(seen) > len(named)
    assert unnamed == set()


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
