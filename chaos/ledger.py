"""The undo ledger: what a fault changed and how to undo it, written before it is done.

Each record lies twice: as a file below the cluster file's folder (the machine's ledger; the only one that can be read
while the API server is what is down) and as a ConfigMap in the cluster (which outlives the machine). A record that
is gone has been undone. Lease times are CLOCK_MONOTONIC nanoseconds of the machine named in the record.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.fault import TTL_S
from steadyset.chaos.kube import Json, Kube, RefusedError, UnreachableError
from steadyset.clusterinfo import ClusterInfo, save_cluster_info
from steadyset.errors import InstrumentError

SYSTEM_NAMESPACE = "steadyset-system"
SYSTEM = "kube-system"  # its UID is the cluster's
LABEL = "steadyset.io/ledger"
ABORT = "steadyset.dev/abort"  # annotation on a record: heal this fault now, and why
PREFIX = "steadyset-fault-"
MANAGED_BY = "app.kubernetes.io/managed-by"


class Record(msgspec.Struct, kw_only=True):
    """One fault's entry. `undo` is what the fault's `undo` function needs; `found` is what it found before.

    `pods` (in its namespace) and `nodes` are what it holds, for the caps on how much is hit at a time; `run` is the ID
    of the run it belongs to, "" for none.
    """

    id: str
    fault: str
    namespace: str
    target: str
    undo: dict[str, Any] = {}
    found: dict[str, str] = {}
    ttl_s: float = TTL_S
    host: str = ""
    boot_id: str = ""
    pid: int = 0
    written_ns: int = 0
    expires_ns: int = 0
    renewals: int = 0
    pods: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    run: str = ""

    def is_ours(self) -> bool:
        """Whether this machine, since this boot, wrote it: only then do its times mean anything here."""
        return self.host == platform.node() and self.boot_id == boot_id()

    def is_expired(self) -> bool:
        """Whether its lease ran out, by this machine's clock; a record from before a reboot has expired."""
        return not self.is_ours() or time.monotonic_ns() > self.expires_ns


def boot_id() -> str:
    """The kernel's ID of this boot: monotonic times compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def new_id(fault: str) -> str:
    """An ID for a record of that fault; its last part is random."""
    return f"{fault}-{secrets.token_hex(4)}"


def new_record(
    fault: str, namespace: str, target: str, ttl_s: float, undo: dict[str, Any], record_id: str = ""
) -> Record:
    """A record owned by this process, whose lease starts now."""
    now = time.monotonic_ns()
    return Record(
        id=record_id or new_id(fault),
        fault=fault,
        namespace=namespace,
        target=target,
        undo=undo,
        ttl_s=ttl_s,
        host=platform.node(),
        boot_id=boot_id(),
        pid=os.getpid(),
        written_ns=now,
        expires_ns=now + int(ttl_s * 1e9),
    )


def ledger_folder(info: ClusterInfo) -> Path:
    """The machine's ledger of that cluster: beside its cluster file, else below the user's state folder by its UID."""
    if info.path:
        return Path(info.path).parent / "faults"
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return state / "steadyset" / "clusters" / (info.uid or info.name or "default") / "faults"


def located(info: ClusterInfo) -> ClusterInfo:
    """The cluster with a cluster file that child processes can read; a bare kubeconfig gets one beside its ledger.

    Its folder is that of the cluster's UID, so that all who use the cluster from here share a ledger; where the
    cluster does not answer, that of its name.
    """
    if info.path:
        return info
    own = msgspec.structs.replace(info)
    with suppress(RefusedError, UnreachableError):
        own.uid = info.uid or cluster_uid(Kube(info))
    folder = ledger_folder(own).parent
    folder.mkdir(parents=True, exist_ok=True)
    save_cluster_info(own, folder / "kubeconfig.json")
    return own


def cluster_uid(kube: Kube) -> str:
    """The UID by which a cluster is known: that of its kube-system namespace."""
    return str(kube.request("GET", f"/api/v1/namespaces/{SYSTEM}")["metadata"]["uid"])


class HostLedger:
    """Records as files, one each, written atomically."""

    def __init__(self, info: ClusterInfo) -> None:
        self.folder = ledger_folder(info)

    def path(self, record_id: str) -> Path:
        """Where that record lies."""
        return self.folder / f"{record_id}.json"

    def write(self, record: Record) -> None:
        """Write or rewrite a record; it is on disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{record.id}.{os.getpid()}.tmp"
        with temporary.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
            out.flush()
            os.fsync(out.fileno())
        temporary.rename(self.path(record.id))

    def renew(self, record: Record) -> bool:
        """Move the lease's end to now + TTL. False when the record is gone: somebody undid the fault."""
        if not self.path(record.id).exists():
            return False
        record.expires_ns = time.monotonic_ns() + int(record.ttl_s * 1e9)
        record.renewals += 1
        self.write(record)
        return True

    def remove(self, record_id: str) -> None:
        """Forget a record; nothing happens when it is gone already."""
        self.path(record_id).unlink(missing_ok=True)

    def records(self) -> list[Record]:
        """Every record, in order of writing; InstrumentError names a damaged one."""
        found = [read_record(path) for path in sorted(self.folder.glob("*.json"))]
        return sorted((r for r in found if r), key=lambda r: r.written_ns)


def read_record(path: Path) -> Record | None:
    """The record in that file, None when it is gone."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise InstrumentError(
            f"ledger record {path} is damaged: {error}", do="undo by hand what its name says, then delete it"
        ) from None


class ClusterLedger:
    """Records as ConfigMaps: in `steadyset-system` on clusters of ours, else in the target's namespace."""

    def __init__(self, info: ClusterInfo, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.own_namespace = info.provider == "embedded"
        self.namespace = SYSTEM_NAMESPACE if self.own_namespace else namespace or "default"
        self._base = f"/api/v1/namespaces/{self.namespace}/configmaps"

    def write(self, record: Record) -> None:
        """Create the record's ConfigMap, and the namespace it lies in where that is ours."""
        body: Json = {
            "metadata": {
                "name": PREFIX + record.id,
                "labels": {LABEL: "undo", MANAGED_BY: "steadyset"},
            },
            "data": {"record": msgspec.json.encode(record).decode()},
        }
        try:
            self.kube.request("POST", self._base, body)
        except RefusedError as error:
            if error.status != 404 or not self.own_namespace:
                raise
            self.make_namespace()
            self.kube.request("POST", self._base, body)

    def make_namespace(self) -> None:
        """Create the namespace of the records where that is ours; nothing happens when it is there."""
        if not self.own_namespace:
            return
        try:
            self.kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        except RefusedError as error:
            if error.status != 409:
                raise

    def renew(self, record: Record) -> str:
        """Write the record again, so that its resourceVersion moves. Why the fault must end, "" when it may go on."""
        patch = {"data": {"record": msgspec.json.encode(record).decode()}}
        try:
            written = self.kube.request("PATCH", f"{self._base}/{PREFIX}{record.id}", patch)
        except RefusedError as error:
            if error.status == 404:
                return "its record was deleted from the cluster"
            raise
        annotations: dict[str, str] = written["metadata"].get("annotations") or {}
        return f"its record was annotated: {annotations[ABORT] or 'no reason given'}" if ABORT in annotations else ""

    def abort(self, record_id: str, reason: str) -> None:
        """Ask whoever holds that fault to heal it now; its next renewal sees it."""
        patch = {"metadata": {"annotations": {ABORT: reason}}}
        self.kube.request("PATCH", f"{self._base}/{PREFIX}{record_id}", patch)

    def remove(self, record_id: str) -> None:
        """Forget a record; nothing happens when it is gone already."""
        try:
            self.kube.request("DELETE", f"{self._base}/{PREFIX}{record_id}")
        except RefusedError as error:
            if error.status != 404:
                raise

    def records(self) -> list[tuple[Record, str]]:
        """Every record of the cluster (of the namespace, on clusters not ours) with its resourceVersion."""
        found = []
        for item in self.kube.items(self._base, labelSelector=f"{LABEL}=undo"):
            record = msgspec.json.decode(item["data"]["record"], type=Record)
            found.append((record, str(item["metadata"]["resourceVersion"])))
        return found
