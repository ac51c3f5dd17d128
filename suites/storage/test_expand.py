"""Expansion: a claim that asks for more gets it, under load or when its pod is replaced, and never gets less."""

import pytest

from steadyset.fixtures.conformance.volumes import (
    bound,
    class_like,
    class_of,
    condition,
    end_pod,
    expansion_refused,
    make_claim,
    ready_pod,
    run_pod,
)
from steadyset.fixtures.scenario import NotTestedError

ONLINE_CLASS = "steadyset-xfs"  # of the embedded cluster, whose kernel may refuse to grow a mounted ext4
BEFORE, AFTER = "320Mi", "448Mi"


def _ask(space, size):
    return space.patch("PersistentVolumeClaim", "data", {"spec": {"resources": {"requests": {"storage": size}}}})


def _capacity(space):
    claim = space.view.get("PersistentVolumeClaim", "data") or {}
    return (claim.get("status") or {}).get("capacity", {}).get("storage", "")


def _expandable(space, name=""):
    found = class_of(space, name)
    if not found.get("allowVolumeExpansion"):
        raise NotTestedError(f"StorageClass {found['metadata']['name']} does not allow expansion")
    return found["metadata"]["name"]


@pytest.mark.requirement("STO-EXP-001")
def test_under_load(space, report):
    """Goal: a volume grows while its pod writes; the pod is not restarted and nothing acknowledged is lost.

    Method: append until the claim's capacity is the one asked for, then once more; read everything back.
    """
    embedded = space.info.provider == "embedded"
    make_claim(space, storage_class=_expandable(space, ONLINE_CLASS if embedded else ""), size=BEFORE)
    uid = run_pod(space, "web", claim="data")["metadata"]["uid"]
    space.data.write("web")
    _ask(space, AFTER)

    def grown():
        space.data.write("web")
        return _capacity(space) == AFTER

    space.until("the claim has grown under load", grown)
    space.data.write("web")
    pod = space.view.get("Pod", "web")
    report.promise("the pod is the same", expected=uid, seen=pod["metadata"]["uid"])
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    report.promise("its container was not restarted", expected=0, seen=restarts)
    size = space.need("PersistentVolume", bound(space))["spec"]["capacity"]["storage"]
    report.promise("the volume says so too", expected=AFTER, seen=size)
    space.data.read_back()


@pytest.mark.requirement("STO-EXP-002")
def test_at_replacement(space, report):
    """Goal: where a mounted file system cannot grow, the claim says that it waits, and grows when its pod is replaced.

    Method: ask for more; when the claim has the condition FileSystemResizePending, replace the pod; read back.
    """
    make_claim(space, storage_class=_expandable(space), size=BEFORE)
    run_pod(space, "web", claim="data")
    space.data.write("web")
    _ask(space, AFTER)

    def decided():
        pending = condition(space.view.get("PersistentVolumeClaim", "data"), "FileSystemResizePending")
        return "grown" if _capacity(space) == AFTER else "pending" if pending else ""

    if space.until("the claim has grown, or says that it waits", decided) == "pending":
        end_pod(space, "web")
        run_pod(space, "web", claim="data")
    space.until("the claim has grown", lambda: _capacity(space) == AFTER)
    ready_pod(space, "web")
    report.promise("no condition is left", expected={}, seen=_resizing(space))
    space.data.read_back()


def _resizing(space):
    return condition(space.read("PersistentVolumeClaim", "data"), "FileSystemResizePending")


@pytest.mark.requirement("STO-EXP-003", "STO-EXP-004")
@pytest.mark.parametrize("asked", ["less", "of-a-fixed-class"])
def test_refused(space, report, asked):
    """Goal: a claim never shrinks below what it has, and a class without expansion lets none grow.

    Method: ask for less, or for more of a class with allowVolumeExpansion false.
    """
    with class_like(space, allowVolumeExpansion=asked == "less") as name:
        make_claim(space, storage_class=name, size="32Mi")
        run_pod(space, "web", claim="data")
        bound(space)
        answer = space.refused(lambda: _ask(space, "16Mi" if asked == "less" else "64Mi"))
        code = "422" if asked == "less" else "403"
        report.promise("the API server refuses", expected=code, seen=answer.partition(" ")[0])
        report.promise("the claim keeps its size", expected="32Mi", seen=_capacity(space))


@pytest.mark.requirement("STO-EXP-005")
@pytest.mark.since("1.34")
@pytest.mark.needs("node-exec")
def test_recovery_from_too_much(space, report):
    """Goal: an expansion that the storage cannot give is taken back by asking for less, without an administrator.

    Method: ask for more than the driver ever gives, wait until it has refused twice, ask for a little more than before.
    """
    make_claim(space, storage_class=_expandable(space, ONLINE_CLASS), size=BEFORE)
    run_pod(space, "web", claim="data")
    space.data.write("web")
    _ask(space, "100Ti")
    expansion_refused(space, "data")
    _ask(space, AFTER)
    space.until("the claim has grown", lambda: _capacity(space) == AFTER)
    space.data.write("web")
    space.data.read_back()
