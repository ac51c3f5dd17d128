"""The registry of promises. To add one: its entry in a module here; a new module: its table in REQUIREMENTS."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from steadyset.errors import UsageError
from steadyset.requirements.base import Requirement
from steadyset.requirements.disruption import DISRUPTION
from steadyset.requirements.regressions import REGRESSIONS
from steadyset.requirements.scheduling import SCHEDULING
from steadyset.requirements.statefulset import STATEFULSET
from steadyset.requirements.storage import STORAGE
from steadyset.requirements.workloads import WORKLOADS

REQUIREMENTS: tuple[Requirement, ...] = (
    *STATEFULSET,
    *STORAGE,
    *SCHEDULING,
    *WORKLOADS,
    *DISRUPTION,
    *REGRESSIONS,
)


AREAS = {  # by the first part of an id
    "STS": "StatefulSets",
    "STO": "Volumes and claims",
    "SCH": "Scheduling, taints, eviction and preemption",
    "DMN": "DaemonSets and static pods",
    "INI": "Init containers and configuration",
    "JOB": "Jobs and CronJobs",
    "LSE": "Leases",
    "DNS": "Headless Services",
    "DIS": "Disruptions",
    "REG": "Failure stories",
}


def area(name: str) -> str:
    """What the requirement of that id is about."""
    return AREAS[name.partition("-")[0]]


def requirement(name: str) -> Requirement:
    """The promise with that id; UsageError when there is none."""
    return next(r for r in REQUIREMENTS if r.id == select([name])[0])


def select(patterns: list[str]) -> list[str]:
    """Ids that match any of the patterns ("STS-ORD-*"), in the registry's order; UsageError for one without a match."""
    found: set[str] = set()
    for pattern in patterns:
        matching = {r.id for r in REQUIREMENTS if fnmatchcase(r.id, pattern.upper())}
        if not matching:
            families = sorted({r.id.rpartition("-")[0] for r in REQUIREMENTS})
            raise UsageError(
                f"no requirement is called {pattern}",
                expected=f"an id, or a pattern: {', '.join(f'{family}-*' for family in families)}",
                seen=pattern,
                do="steadyset explain",
            )
        found |= matching
    return [r.id for r in REQUIREMENTS if r.id in found]


def blamed(covered: Iterable[str], broken_rules: Iterable[str]) -> list[str]:
    """Of the requirements that a test covers, those that one of the broken rules judges; all when that names none."""
    ids, rules = list(covered), set(broken_rules)
    named = [r.id for r in REQUIREMENTS if r.id in ids and rules & set(r.rules)]
    return named or ids


__all__ = ["AREAS", "REQUIREMENTS", "Requirement", "area", "blamed", "requirement", "select"]
