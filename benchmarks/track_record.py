"""The failure stories of one or more conformance runs as the table of docs/TRACK_RECORD.md.

tools/steadyset conformance --controls --suite regressions --runs runs
python benchmarks/track_record.py runs/RUN…   # one run for each Kubernetes version
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from steadyset.judge import certified
from steadyset.requirements.regressions import KNOWN, STORIES, Story
from steadyset.rundir import RunDir, Scenario
from steadyset.verdict import Verdict

NOT_RUN = "not run"


Seen = dict[str, list[Scenario]]  # by story


def seen_in(runs: list[RunDir]) -> dict[str, Seen]:
    """The scenarios of each story, by the cluster's version; of a test that ran more than once, the last time."""
    last: dict[tuple[str, str], Scenario] = {}
    for run in sorted(runs, key=lambda run: run.path.name):
        for scenario in run.scenarios():
            if "story" in scenario.metrics:
                last[run.params()["cluster"]["version"], scenario.test_id] = scenario
    found: dict[str, Seen] = defaultdict(lambda: defaultdict(list))
    for (version, _), scenario in last.items():
        found[version][scenario.metrics["story"]["id"]].append(scenario)
    return found


def words(scenarios: list[Scenario]) -> str:
    """What was seen of one story, and whether its sabotage was found."""
    told = []
    for scenario in sorted(scenarios, key=lambda s: bool(s.metrics["story"]["sabotage"])):
        story = scenario.metrics["story"]
        if scenario.outcome == "skipped":
            told.append("not tested")
        elif certified(scenario) is not Verdict.PASS:
            told.append(f"**{scenario.verdict()}**" + (" (sabotage)" if story["sabotage"] else ""))
        elif story["sabotage"]:
            told.append("sabotage found")
        else:
            told.append("known limitation shown" if story["expected"] == KNOWN else "pass")
    return ", ".join(dict.fromkeys(told)) or NOT_RUN


def row(story: Story, runs: list[Seen]) -> str:
    """One line of the table."""
    links = " ".join(f"[#{n}](https://github.com/kubernetes/kubernetes/issues/{n})" for n in story.issues)
    cells = [f"not tested: {story.open}" if story.open else words(found.get(story.id, [])) for found in runs]
    return f"| {story.id} | {links} | {story.text} | {story.affected} | {' | '.join(cells)} |"


def main(folders: list[str]) -> None:
    """Print the table."""
    if not folders:
        sys.exit(__doc__)
    by_version = seen_in([RunDir(Path(folder)) for folder in folders])
    versions = sorted(by_version)
    runs = [by_version[version] for version in versions]
    lines = [f"| id | issues | what a user may expect | affected | {' | '.join(f'seen on {v}' for v in versions)} |"]
    lines.append("|---" * (4 + len(runs)) + "|")
    lines += [row(story, runs) for story in STORIES]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
