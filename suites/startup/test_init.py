"""Start-up: init containers run one after the other, each to its end, before the member itself."""

import copy

import pytest

from steadyset.chaos.kube import UnreachableError
from steadyset.fixtures.conformance.volumes import ask, make_claim, pod_manifest, ready_pod


def _with_inits(space, *names, **params):
    """A pod of a probe with probes as init containers on the same volume; each ends when it is told to."""
    manifest = pod_manifest(space, "web", claim="data", **params)
    main = manifest["spec"]["containers"][0]
    manifest["spec"]["initContainers"] = [{**copy.deepcopy(main), "name": name} for name in names]
    return manifest


def _statuses(space):
    status = (space.view.get("Pod", "web") or {}).get("status") or {}
    both = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return {entry["name"]: entry for entry in both}


def _running(space):
    return sorted(name for name, entry in _statuses(space).items() if "running" in entry["state"])


def _end(space, name, code=0):
    """Wait until that container is the one that runs, let it write, and end it with the exit code."""
    space.until(f"{name} runs", lambda: _running(space) == [name])
    space.until(f"{name} writes", lambda: space.proxy("web", f"append?key={name}&value=1", "POST"))
    alone = _running(space)
    space.until(f"{name} is told to end", lambda: _told_to_end(space, name, code))
    return alone


def _told_to_end(space, name, code):
    if _running(space) != [name]:
        return True
    try:
        space.proxy("web", f"exit?code={code}", "POST")
    except UnreachableError:
        return False
    return True


@pytest.mark.requirement("INI-ORD-001", "INI-ORD-002")
def test_order(space, report):
    """Goal: init containers run alone, in their order, each to its end; the member starts last and finds their work.

    Method: two init containers that end when told to; look who runs meanwhile, and what the member finds.
    """
    make_claim(space)
    space.create(_with_inits(space, "first", "second"))
    for name in ("first", "second"):
        report.promise(f"{name} runs alone", expected=[name], seen=_end(space, name))
    ready_pod(space, "web")
    for name in ("first", "second"):
        report.promise(
            f"the work of {name} is there", expected=[1], seen=ask(space, "web", f"values?key={name}")["values"]
        )
    epoch = ask(space, "web", "identity")["epoch"]
    report.promise("each has opened the volume once", expected=3, seen=epoch)
    ends = [_statuses(space)[name]["state"]["terminated"]["finishedAt"] for name in ("first", "second")]
    starts = [_statuses(space)["second"]["state"]["terminated"]["startedAt"]]
    starts.append(_statuses(space)["probe"]["state"]["running"]["startedAt"])
    seen = all(end <= start for end, start in zip(ends, starts, strict=True))
    report.promise("each ended before the next one started", expected=True, seen=seen)


@pytest.mark.requirement("INI-ORD-003")
def test_failure(space, report):
    """Goal: an init container that fails is run again until it succeeds, and nothing after it starts before.

    Method: fail the first one twice, then let it succeed.
    """
    make_claim(space)
    space.create(_with_inits(space, "first", "second"))
    for tries in range(2):
        report.promise("it runs alone", expected=["first"], seen=_end(space, "first", code=1))
        space.until("it is counted", lambda n=tries + 1: _statuses(space)["first"]["restartCount"] >= n)
        waiting = "waiting" in _statuses(space)["second"]["state"]
        report.promise("the second one waits", expected=True, seen=waiting)
    for name in ("first", "second"):
        _end(space, name)
    ready_pod(space, "web")
    report.promise("all tries wrote", expected=[1, 1, 1], seen=ask(space, "web", "values?key=first")["values"])


@pytest.mark.requirement("INI-ORD-004")
def test_crash_of_the_member(space, report):
    """Goal: a member that crashes is started again without its init containers; a new pod runs them all.

    Method: crash the member, count who opened the volume; delete the pod and create it again.
    """
    make_claim(space)
    manifest = _with_inits(space, "first")
    space.create(manifest)
    _end(space, "first")
    ready_pod(space, "web")
    space.until("the member is told to crash", lambda: space.proxy("web", "exit?code=1", "POST"))
    space.until(
        "the member is back", lambda: _statuses(space)["probe"]["restartCount"] == 1 and _running(space) == ["probe"]
    )
    space.until("it serves", lambda: space.proxy("web", "identity")["epoch"] == 3)
    report.promise("the init container ran once", expected=[1], seen=ask(space, "web", "values?key=first")["values"])
    uid = space.view.get("Pod", "web")["metadata"]["uid"]
    space.delete("Pod", "web")
    space.until("the pod is gone", lambda: space.view.get("Pod", "web") is None)
    space.create(manifest)
    _end(space, "first")
    pod = ready_pod(space, "web")
    report.promise("it is another pod", expected=True, seen=pod["metadata"]["uid"] != uid)
    report.promise(
        "the init container ran again", expected=[1, 1], seen=ask(space, "web", "values?key=first")["values"]
    )


@pytest.mark.requirement("INI-CFG-001")
def test_configuration_comes_first(space, report):
    """Goal: a pod does not start before the ConfigMap that it names is there, and starts with what that says.

    Method: create the pod first; then the ConfigMap, whose value is the name that the member gives of itself.
    """
    manifest = pod_manifest(space, "web")
    source = {"configMapKeyRef": {"name": "settings", "key": "name"}}
    env = [entry for entry in manifest["spec"]["containers"][0]["env"] if entry["name"] != "POD_NAME"]
    manifest["spec"]["containers"][0]["env"] = [*env, {"name": "POD_NAME", "valueFrom": source}]
    space.create(manifest)

    def reason():
        return _statuses(space).get("probe", {}).get("state", {}).get("waiting", {}).get("reason")

    space.until("it waits for its configuration", lambda: reason() == "CreateContainerConfigError")
    space.create({"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"name": "configured-7"}})
    ready_pod(space, "web")
    report.promise("it has the value", expected="configured-7", seen=ask(space, "web", "identity")["pod"])
