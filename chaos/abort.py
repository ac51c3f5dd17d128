"""Abort by any observer: a ConfigMap `steadyset-abort` stops faults, from the cluster itself and without our command.

    kubectl -n NAMESPACE create configmap steadyset-abort --from-literal=reason='the pager went off'

NAMESPACE is where the ledger lies: `steadyset-system` on clusters of ours, the target's own on others. While it exists
every live fault heals within a renewal period, and no new one is begun. Its data may name `runs` (comma-separated
run IDs): then only those are stopped. One fault alone is stopped by deleting its ledger record, or by annotating it
with `steadyset.dev/abort`. A file beside the machine's ledger does the same where the API server is what is down.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

from steadyset.chaos.kube import Json, Kube, RefusedError, UnreachableError
from steadyset.chaos.ledger import ClusterLedger, HostLedger
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError
from steadyset.names import names_in

NAME = "steadyset-abort"
RUN_VARIABLE = "STEADYSET_RUN"  # the ID of the run that a fault belongs to


class Stop(msgspec.Struct, kw_only=True):
    """Who stopped faults, and why; `runs` empty means every run."""

    reason: str = ""
    by: str = ""
    at: str = ""
    runs: list[str] = []

    def __str__(self) -> str:
        return f"aborted by {self.by or 'an observer'}" + (f": {self.reason}" if self.reason else "")

    def concerns(self, run: str) -> bool:
        """Whether it stops that run."""
        return not self.runs or run in self.runs


class AbortedError(InvalidError):
    """An observer stopped faults."""


def this_run() -> str:
    """The ID of the run that this process works for, "" when there is none."""
    return os.environ.get(RUN_VARIABLE, "")


def stop_here(info: ClusterInfo, run: str) -> Stop | None:
    """The stop that concerns `run`, as the machine's ledger has it."""
    try:
        stop = msgspec.json.decode((HostLedger(info).folder / NAME).read_bytes(), type=Stop)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return stop if stop.concerns(run) else None


def stop_in_cluster(info: ClusterInfo, kube: Kube, namespace: str, run: str) -> Stop | None:
    """The stop that concerns `run`, as the cluster has it; UnreachableError while it does not answer."""
    found = kube.get(_path(info, kube, namespace))
    if found is None:
        return None
    data: dict[str, str] = found.get("data") or {}
    runs = names_in(data.get("runs", ""))
    at = data.get("at") or str(found["metadata"].get("creationTimestamp", ""))
    stop = Stop(reason=data.get("reason", ""), by=data.get("by", ""), at=at, runs=runs)
    return stop if stop.concerns(run) else None


def refuse_stopped(info: ClusterInfo, kube: Kube, namespace: str, run: str = "") -> None:
    """AbortedError while the faults of `run` (default: this process's) are stopped."""
    run = run or this_run()
    stop = stop_here(info, run) or stop_in_cluster(info, kube, namespace, run)
    if stop is not None:
        raise AbortedError(
            f"no fault is begun: {stop}",
            seen=f"ConfigMap {NAME} in namespace {ClusterLedger(info, kube, namespace).namespace}, since {stop.at}",
            do="steadyset chaos resume, once it is safe again",
        )


def stop_all(info: ClusterInfo, namespace: str, *, reason: str, by: str, runs: list[str]) -> list[str]:
    """Stop the faults of `runs`, or of every run; returns where that was written. The cluster may be unreachable."""
    stop = Stop(reason=reason, by=by, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), runs=runs)
    folder = HostLedger(info).folder
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{NAME}.{os.getpid()}.tmp"
    temporary.write_bytes(msgspec.json.encode(stop))
    temporary.rename(folder / NAME)
    written = [f"file {folder / NAME}"]
    with suppress(UnreachableError):
        kube = Kube(info)
        data = {"reason": stop.reason, "by": stop.by, "at": stop.at, "runs": ",".join(runs)}
        _put(info, kube, namespace, data)
        written.append(f"ConfigMap {ClusterLedger(info, kube, namespace).namespace}/{NAME}")
    return written


def resume(info: ClusterInfo, namespace: str) -> bool:
    """Let faults be begun again; whether they were stopped."""
    path, stopped = HostLedger(info).folder / NAME, False
    if path.exists():
        path.unlink()
        stopped = True
    kube = Kube(info)
    try:
        kube.request("DELETE", _path(info, kube, namespace))
    except RefusedError as error:
        if error.status != 404:
            raise
        return stopped
    return True


def _path(info: ClusterInfo, kube: Kube, namespace: str) -> str:
    return f"/api/v1/namespaces/{ClusterLedger(info, kube, namespace).namespace}/configmaps/{NAME}"


def _put(info: ClusterInfo, kube: Kube, namespace: str, data: dict[str, str]) -> None:
    path = _path(info, kube, namespace)
    body: Json = {"metadata": {"name": NAME}, "data": data}
    ledger = ClusterLedger(info, kube, namespace)
    ledger.make_namespace()
    try:
        kube.request("POST", path.rpartition("/")[0], body)
    except RefusedError as error:
        if error.status != 409:
            raise
        kube.request("PATCH", path, {"data": data})
