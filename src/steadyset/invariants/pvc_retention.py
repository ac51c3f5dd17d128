"""Rule `pvc-retention`: the claims and volumes behind the pods outlive every pod, and really are volumes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import Obj, claims, meta, pods_of, short, spec, status, templates, terminating
from steadyset.trace import Lifetime, Trace
from steadyset.verdict import Judgement

LOST = ("Lost", "Released", "Failed")


@dataclass(frozen=True)
class PvcRetention:
    """`claims_min`: claims that must have been seen in use. `volumes`: pod volumes promised to be claims (default:
    those of the volumeClaimTemplates, at least one). Whatever the retention policy of the set says, a deletion FAILs.
    """

    namespace: str
    statefulset: str
    claims_min: int = 1
    volumes: tuple[str, ...] = ()

    rule: ClassVar[str] = "pvc-retention"
    claim: ClassVar[str] = (
        "the PersistentVolumeClaim and PersistentVolume of each ordinal are never deleted or exchanged (same UIDs)"
    )

    def check(self, trace: Trace) -> Judgement:
        """Judge the pods' volumes, then every claim they use, then every volume behind those."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet", "PersistentVolumeClaim", "PersistentVolume")
        # a UID that is the same after a gap was never deleted in it, and a new one is seen: only open gaps hide
        found.open_gaps("Pod", "PersistentVolumeClaim", "PersistentVolume")
        sets = trace.lifetimes("StatefulSet", self.namespace, self.statefulset)
        promised = self.volumes or (tuple(templates(sets[-1].last)) if sets else ())
        used: dict[str, str] = {}  # claim -> pod that uses it
        for pod in pods_of(trace, self.namespace, self.statefulset):
            found.count("pods")
            self._volumes(found, pod, promised, used)
        found.count("claims", 0)
        found.count("volumes", 0)
        for name, user in sorted(used.items()):
            self._claim(found, name, user)
        if not found.violations:
            found.at_least("claims", self.claims_min)
        return found.judgement(
            f"{plural(found.observed['claims'], 'claim')} and their volumes kept their UIDs behind "
            f"{plural(found.observed.get('pods', 0), 'pod')}"
        )

    def _volumes(self, found: Findings, life: Lifetime, promised: tuple[str, ...], used: dict[str, str]) -> None:
        pod = life.records[0].obj
        held = claims(pod)
        for name in held.values():
            used.setdefault(name, life.name)
        wrong = [v for v in promised if v not in held]
        if not promised and not held:
            wrong = [v["name"] for v in spec(pod).get("volumes") or [] if "projected" not in v] or [""]
        for volume in wrong:
            found.violated(
                life.start_ns, f"pod {life.name} ({short(life.uid)}) keeps its data in {_what(pod, volume)}, no claim"
            )

    def _claim(self, found: Findings, name: str, user: str) -> None:
        lives = found.trace.lifetimes("PersistentVolumeClaim", self.namespace, name)
        if not lives:
            found.undecided(f"claim {name} of pod {user} was never seen")
            return
        found.count("claims")
        for life in lives:
            self._kept(found, life, f"claim {name} of pod {user}")
        for old, new in itertools.pairwise(lives):
            found.violated(
                new.start_ns, f"claim {name} of pod {user} came back with another UID ({old.uid} before, {new.uid} now)"
            )
        volumes = {spec(state).get("volumeName", "") for life in lives for _, state in life.states()} - {""}
        if not volumes:
            found.undecided(f"claim {name} of pod {user} was never bound to a volume")
        for volume in sorted(volumes):
            self._volume(found, volume, name)

    def _volume(self, found: Findings, volume: str, claim: str) -> None:
        lives = found.trace.lifetimes("PersistentVolume", name=volume)
        if not lives:
            found.undecided(f"volume {volume} of claim {claim} was never seen")
            return
        found.count("volumes")
        for life in lives:
            self._kept(found, life, f"volume {volume} of claim {claim}")
        for old, new in itertools.pairwise(lives):
            found.violated(
                new.start_ns, f"volume {volume} of claim {claim} has another UID ({old.uid} before, {new.uid} now)"
            )

    def _kept(self, found: Findings, life: Lifetime, what: str) -> None:
        for t, state in life.states():
            if terminating(state):
                since = meta(state).get("deletionTimestamp")
                found.violated(t, f"{what} ({short(life.uid)}) is being deleted since {since}")
                break
            phase = status(state).get("phase", "")
            if phase in LOST:
                found.violated(t, f"{what} ({short(life.uid)}) is {phase}")
                break
        if life.deletion:
            found.violated(life.deletion.t, f"{what} ({short(life.uid)}) was deleted")


def _what(pod: Obj, volume: str) -> str:
    for found in spec(pod).get("volumes") or []:
        if found["name"] == volume:
            kind = next((k for k in found if k != "name"), "nothing")
            return f"volume {volume}, an {kind}" if kind[0] in "aeiou" else f"volume {volume}, a {kind}"
    return f"volume {volume}, which it does not have" if volume else "no volume at all"
