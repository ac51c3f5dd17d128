"""`python -m steadyset.load.surveys STACK`: answers questions about one target, a line of JSON each, until stdin ends.

A question is `log-in`, `make`, `look` or `remove`; an answer `{"ok": …}` or `{"error": {message, expected, seen, do}}`.
When its owner is gone without a `remove`, it removes by itself what it made.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import click
import locust  # noqa: F401 - first: it patches what the other imports hold on to

from steadyset.errors import InstrumentError, SteadysetError
from steadyset.load.recorder import load_params
from steadyset.load.surveys import SURVEYS
from steadyset.load.surveys.base import REMOVE_S, Survey
from steadyset.wait import wait_for

QUIET_POLL_S = 1.0  # a load that its runner left behind may write for a second more


def answer(survey: Survey, question: str) -> dict[str, Any]:
    """The answer to one question; whatever is raised is an answer too."""
    known: dict[str, Callable[[], Any]] = {
        "log-in": survey.log_in,
        "make": survey.make,
        "look": survey.look,
        "remove": lambda: removed(survey),
    }
    try:
        return {"ok": known[question]()}
    except SteadysetError as error:
        found = {name: getattr(error, name) for name in ("message", "expected", "seen", "do", "exit_code")}
    except Exception as error:
        found = {"message": f"{question}: {survey.describe(error)}", "exit_code": InstrumentError.exit_code}
    return {"error": found}


def removed(survey: Survey) -> str:
    """Remove the scratch place until nothing is left of it, twice in a row; DeadlineError with what is left."""
    left, clean = "nothing was tried", 0

    def gone() -> bool:
        nonlocal left, clean
        try:
            left = survey.remove()
        except Exception as error:
            left = survey.describe(error)
        clean = 0 if left else clean + 1
        return clean > 1

    wait_for(
        gone,
        what=f"scratch {survey.scratch} removed",
        deadline_name="remove_s",
        deadline_s=REMOVE_S,
        poll_s=QUIET_POLL_S,
        describe=lambda: left,
        do="remove it by hand once the target is in steady state",
    )
    return ""


def main(stack: str) -> None:
    """Answer until stdin ends."""
    survey: Survey = importlib.import_module(SURVEYS[stack]).SURVEY(load_params())
    made = False
    while line := sys.stdin.readline():
        question = json.loads(line)
        found = answer(survey, question)
        made = (made or question == "make") and not (question == "remove" and "ok" in found)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    if made:
        click.echo(f"the owner is gone: {answer(survey, 'remove')}", err=True)


if __name__ == "__main__":
    main(sys.argv[1])
