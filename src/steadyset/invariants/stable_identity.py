"""Rule `stable-identity`: what a StatefulSet promises to keep for each ordinal, compared at every replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import (
    Obj,
    by_name,
    claims,
    labels,
    meta,
    ordinal,
    pods_of,
    short,
    spec,
    start_ordinal,
    templates,
)
from steadyset.trace import Lifetime, Trace
from steadyset.verdict import Judgement

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True)
class StableIdentity:
    """`replacements_min`: pods seen replaced under the same name.

    `governed`: the headless Service that the set names must be there, since it is what gives its pods their DNS names
    and Kubernetes leaves it to the user to make it (Kubernetes documentation: StatefulSets, Limitations).
    """

    namespace: str
    statefulset: str
    replacements_min: int = 1
    governed: bool = False

    rule: ClassVar[str] = "stable-identity"
    claim: ClassVar[str] = (
        "a StatefulSet pod keeps its ordinal, name, hostname, DNS subdomain, claims and identity labels when replaced"
    )

    def check(self, trace: Trace) -> Judgement:
        """Judge every incarnation against the names Kubernetes derives, and against its predecessor."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        sets = trace.lifetimes("StatefulSet", self.namespace, self.statefulset)
        pods = pods_of(trace, self.namespace, self.statefulset)
        if not sets:
            found.undecided(f"StatefulSet {self.namespace}/{self.statefulset} was never seen")
            return found.judgement("")
        found.count("pods", len(pods))
        found.count("replacements", 0)
        statefulset = sets[-1].last
        for name, lives in sorted(by_name(pods).items()):
            previous: tuple[Lifetime, dict[str, object]] | None = None
            for life in lives:
                identity = self._identity(life.records[0].obj)
                self._derived(found, statefulset, life)
                if previous is not None:
                    found.count("replacements")
                    self._same(found, name, previous, (life, identity))
                previous = life, identity
        self._dns(found, pods)
        if self.governed and pods:
            self._governed(found, str(spec(statefulset).get("serviceName", "")), pods[0])
        self._gaps(found, pods)
        found.at_least("replacements", self.replacements_min)
        return found.judgement(
            f"{plural(found.observed['replacements'], 'replacement')} of {plural(len(by_name(pods)), 'ordinal')} "
            "kept every part of the identity"
        )

    def _identity(self, pod: Obj) -> dict[str, object]:
        return {
            "hostname": spec(pod).get("hostname", ""),
            "subdomain": spec(pod).get("subdomain", ""),
            "claims": claims(pod),
            POD_NAME_LABEL: labels(pod).get(POD_NAME_LABEL, ""),
            POD_INDEX_LABEL: labels(pod).get(POD_INDEX_LABEL, ""),
        }

    def _derived(self, found: Findings, statefulset: Obj, life: Lifetime) -> None:
        number = ordinal(life.name, self.statefulset)
        wanted: dict[str, object] = {
            "hostname": life.name,
            "subdomain": spec(statefulset).get("serviceName", ""),
            POD_NAME_LABEL: life.name,
        }
        for t, pod in life.states():
            seen = self._identity(pod)
            if seen[POD_INDEX_LABEL]:
                wanted[POD_INDEX_LABEL] = str(number)
            wrong = [(k, seen[k], v) for k, v in wanted.items() if seen[k] != v]
            for key, value, right in wrong:
                who = f"pod {life.name} ({short(life.uid)})"
                found.violated(t, f"{who} has {key} {value!r}, its ordinal means {right!r}")
            held = claims(pod)
            for template in templates(statefulset):
                right = f"{template}-{self.statefulset}-{number}"
                if template in held and held[template] != right:
                    found.violated(
                        t,
                        f"pod {life.name} ({short(life.uid)}) uses claim {held[template]!r} as {template}, "
                        f"its ordinal means {right!r}",
                    )
                    wrong.append((template, held[template], right))
            if number < start_ordinal(statefulset):
                found.violated(t, f"pod {life.name} lies before the first ordinal {start_ordinal(statefulset)}")
                return
            if wrong:
                return  # one moment of one pod is evidence enough

    def _same(
        self,
        found: Findings,
        name: str,
        old: tuple[Lifetime, dict[str, object]],
        new: tuple[Lifetime, dict[str, object]],
    ) -> None:
        for key, before in old[1].items():
            after = new[1][key]
            if before != after:
                found.violated(
                    new[0].start_ns,
                    f"pod {name} was replaced ({short(old[0].uid)} by {short(new[0].uid)}) and its {key} "
                    f"changed from {before!r} to {after!r}",
                )

    def _dns(self, found: Findings, pods: list[Lifetime]) -> None:
        """Endpoints of the governing Service carry the pod's name as their hostname: that is its DNS name."""
        names = {life.uid: life.name for life in pods}
        subdomains = {life.uid: spec(life.records[0].obj).get("subdomain", "") for life in pods}
        told: set[tuple[str, str]] = set()
        for record in found.trace.of("EndpointSlice", self.namespace):
            service = (meta(record.obj).get("labels") or {}).get(SERVICE_LABEL, "")
            for endpoint in record.obj.get("endpoints") or []:
                uid = (endpoint.get("targetRef") or {}).get("uid", "")
                if uid not in names or subdomains[uid] != service or not service:
                    continue
                hostname = endpoint.get("hostname", "")
                if (uid, hostname) in told:
                    continue
                told.add((uid, hostname))
                found.count("dns_names")
                if hostname != names[uid]:
                    found.violated(
                        record.t,
                        f"DNS of Service {service} calls pod {names[uid]} ({short(uid)}) {hostname!r}",
                    )

    def _governed(self, found: Findings, service: str, pod: Lifetime) -> None:
        """A headless Service of that name was seen."""
        if not found.needs("Service"):
            return
        lives = found.trace.lifetimes("Service", self.namespace, service)
        if not any(spec(life.last).get("clusterIP") == "None" for life in lives):
            seen = f"Service {service!r} is not headless" if lives else f"there is no Service {service!r}"
            found.violated(pod.start_ns, f"pod {pod.name} ({short(pod.uid)}) has no DNS name of its own: {seen}")

    def _gaps(self, found: Findings, pods: list[Lifetime]) -> None:
        found.open_gaps("Pod", "StatefulSet")
        for gap in found.trace.gaps("Pod"):
            if gap.open:
                continue
            hidden = {
                life.name
                for life in pods
                for record in (life.first, life.deletion)
                if record is not None and record.inferred and record.t >= gap.until_ns
            }
            if hidden:
                found.hidden(gap, f"another incarnation of {', '.join(sorted(hidden))}")
