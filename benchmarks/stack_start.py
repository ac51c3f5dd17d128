"""Start-up of every reference stack, from its manifests to steady state, its images imported, beside the goals.

    python benchmarks/stack_start.py [--cluster-name default] [--stacks redis,probe] [--runs 3]

One stack at a time on the embedded cluster, which is brought up when it is not. A stack whose image cannot be had here
is *not tested*. Exit code: 0 when every median is within its goal, 1 otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import SteadysetError
from steadyset.fixtures.clusters import embedded
from steadyset.fixtures.preload import preload
from steadyset.fixtures.stacks import STACKS, stack_class
from steadyset.names import names_in

# Seconds on 2 cores, from the plan of the stacks.
GOALS_S = {"probe": 5.0, "redis": 15.0, "postgresql": 40.0, "rabbitmq": 45.0, "galera": 60.0, "kafka": 60.0}


def say(text: str) -> None:
    """A line of progress on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def one_start(info: ClusterInfo, name: str, run: int) -> float:
    """Seconds from the first manifest to steady state; the stack is removed again."""
    stack = stack_class(name)()
    try:
        begun = time.monotonic()
        stack.deploy(info, f"benchstart-{name}-{run}")
        return time.monotonic() - begun
    finally:
        stack.undeploy()


def main() -> int:
    """Measure, print the table, compare with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster-name", default="default")
    parser.add_argument("--stacks", default="", help="comma-separated; all by default")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    names = names_in(given.stacks) or [stack.name for stack in STACKS]
    images = dict.fromkeys(("probe", *(image for name in names for image in stack_class(name)().own_images())))
    info = embedded.ensure_up(given.cluster_name, image_names=tuple(images))
    late = False
    lines = [f"{'stack':12}{'goal':>8}{'median':>10}{'worst':>10}   each run"]
    for name in names:
        took: list[float] = []
        lacking = stack_class(name)().lacking_images()
        try:
            preload(info, stack_class(name)().own_images(), say)
            for run in range(0 if lacking else given.runs):
                took.append(one_start(info, name, run))
                say(f"{name}: {took[-1]:.1f} s")
        except SteadysetError as error:
            say(f"{name}: {error}")
        if not took:
            lines.append(f"{name:12}{'':>8}{'not tested':>12}")
            continue
        median, goal = statistics.median(took), GOALS_S.get(name)
        late = late or (goal is not None and median > goal)
        each = " ".join(f"{seconds:.1f}" for seconds in took)
        goal_text = f"{goal:.0f} s" if goal is not None else "none"
        lines.append(f"{name:12}{goal_text:>8}{median:>8.1f} s{max(took):>8.1f} s   {each}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
